import { rmSync } from 'node:fs';
import { type FileHandle, mkdir, open, readdir, rename, rm, rmdir, statfs } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { InputError, SourceError } from '../errors.ts';
import type { FolderWriter } from '../quantize/folder-writer.ts';
import { bytes } from './amounts.ts';
import { writeAll } from './temporary-file.ts';

/** A folder that appears under its name when it is complete, and not before. */
export type DraftFolder = FolderWriter & {
  /** Gives the folder its name. */
  commit(): Promise<void>;
  /** Removes it; after `commit` nothing happens. */
  discard(): Promise<void>;
};

// process.exit runs no `finally`: a second Ctrl-C must not leave half a checkpoint either.
const unfinished = new Set<string>();
process.on('exit', () => {
  for (const path of unfinished) rmSync(path, { recursive: true, force: true });
});

/** Opens a hidden neighbour of `path`, whose parents are made. @throws InputError when something is in the way already */
export async function openDraftFolder(path: string): Promise<DraftFolder> {
  const target = resolve(path);
  const entries = await readdir(target).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null;
    throw new InputError(`${path}: cannot be a folder to write to (${error.code})`, { cause: error });
  });
  if (entries && entries.length > 0) {
    throw new InputError(`${path}: the folder is not empty; choose another, or remove it first`);
  }
  // Beside the target, so that the last step is a rename on the same disk.
  const draft = join(dirname(target), `.${basename(target)}.${process.pid}.partial`);
  await mkdir(draft, { recursive: true }).catch((cause: NodeJS.ErrnoException) => {
    throw new SourceError(`${path}: cannot be written (${cause.code}); choose another place`, { cause });
  });
  unfinished.add(draft);
  return {
    async reserve(size) {
      const { bavail, bsize } = await statfs(draft);
      if (bavail * bsize > size) return;
      throw new SourceError(
        `${path}: the checkpoint takes ${bytes(size)}, the disk has ${bytes(bavail * bsize)} free; make room, or choose another place`,
      );
    },
    async create(inner) {
      const place = join(draft, inner);
      await mkdir(dirname(place), { recursive: true });
      return fileWriter(await open(place, 'wx'), join(path, inner));
    },
    async commit() {
      if (entries) await rmdir(target);
      await rename(draft, target);
      unfinished.delete(draft);
    },
    async discard() {
      if (!unfinished.has(draft)) return;
      await rm(draft, { recursive: true, force: true });
      unfinished.delete(draft);
    },
  };
}

function fileWriter(handle: FileHandle, name: string): Awaited<ReturnType<FolderWriter['create']>> {
  let end = 0;
  return {
    async append(data) {
      await writeAll(handle, data, end, name);
      end += data.byteLength;
    },
    rewrite: (data, position) => writeAll(handle, data, position, name),
    async close() {
      await handle.sync();
      await handle.close();
    },
  };
}
