import { rmSync } from 'node:fs';
import { type FileHandle, open, rename, rm, stat } from 'node:fs/promises';
import { SourceError } from '../errors.ts';

/** A file that appears under its name when it is complete, and not before. */
export type TemporaryFile = {
  /** Appends. Everything that is given has been written when it resolves. */
  append(data: Uint8Array | string): Promise<void>;
  /** Replaces bytes that were appended before. */
  rewrite(data: Uint8Array, position: number): Promise<void>;
  /** What has been appended, in pieces. */
  read(): AsyncIterable<Uint8Array>;
  /** Gives the file its name, replacing what was there. */
  commit(): Promise<void>;
  /** Removes it; after `commit` nothing happens. */
  discard(): Promise<void>;
};

// process.exit runs no `finally`: a second Ctrl-C, or a crash, must not leave half a file either.
const unfinished = new Set<string>();
process.on('exit', () => {
  for (const path of unfinished) rmSync(path, { force: true });
});

const PIECE = 1 << 20;

/** Opens a temporary neighbour of `path`. @throws SourceError when its folder is not there or not writable */
export async function openTemporaryFile(path: string, suffix = 'part'): Promise<TemporaryFile> {
  if (
    await stat(path).then(
      (s) => s.isDirectory(),
      () => false,
    )
  ) {
    throw new SourceError(`${path}: this is a folder; give the name of a file in it`);
  }
  const temporary = `${path}.${process.pid}.${suffix}`;
  const handle = await open(temporary, 'w+').catch((cause: NodeJS.ErrnoException) => {
    const reason =
      cause.code === 'ENOENT' ? 'its folder does not exist' : `cannot be written (${cause.code})`;
    throw new SourceError(`${path}: ${reason}; create the folder or choose another place`, { cause });
  });
  unfinished.add(temporary);
  let done = false;
  const close = async () => {
    done = true;
    await handle.close();
  };
  let end = 0;
  return {
    async append(data) {
      const bytes = typeof data === 'string' ? Buffer.from(data) : data;
      await writeAll(handle, bytes, end, path);
      end += bytes.byteLength;
    },
    rewrite: (data, position) => writeAll(handle, data, position, path),
    async *read() {
      for (let at = 0; at < end; ) {
        const { bytesRead, buffer } = await handle.read(Buffer.alloc(Math.min(PIECE, end - at)), {
          position: at,
        });
        if (bytesRead === 0)
          throw new SourceError(`${temporary}: somebody shortened this temporary file; try again`);
        yield buffer.subarray(0, bytesRead);
        at += bytesRead;
      }
    },
    async commit() {
      await handle.sync();
      await close();
      await rename(temporary, path);
      unfinished.delete(temporary);
    },
    async discard() {
      if (!unfinished.has(temporary)) return;
      if (!done) await close();
      await rm(temporary, { force: true });
      unfinished.delete(temporary);
    },
  };
}

/** Writes all of `data`. @throws SourceError, which calls the file `path` */
export async function writeAll(
  handle: FileHandle,
  data: Uint8Array,
  position: number,
  path: string,
): Promise<void> {
  try {
    for (let at = 0; at < data.byteLength; ) {
      at += (await handle.write(data, at, data.byteLength - at, position + at)).bytesWritten;
    }
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    const reason = code === 'ENOSPC' ? 'the disk is full' : `writing failed (${code})`;
    throw new SourceError(`${path}: ${reason}; make room, or choose another place`, { cause });
  }
}
