import type { Stats } from 'node:fs';
import { type FileHandle, open, readdir, stat } from 'node:fs/promises';
import { join, relative, resolve, sep } from 'node:path';
import { checkRange, rangeText } from '../../weights/byte-range.ts';
import type { ByteSource, FileTree } from '../../weights/byte-source.ts';
import { treeSegments } from '../../weights/tree-path.ts';
import { SourceError } from '../errors.ts';

/** Bytes of one system call: below Node's limit of 2 GiB, and often enough to notice an abort. */
const chunkBytes = 64 * 2 ** 20;

/** A file, read by ranges. `SourceError` when there is none, when it is a folder, or when it becomes shorter while open. */
export async function openFileSource(path: string): Promise<ByteSource> {
  const source = await openIfThere(path);
  if (source !== null) return source;
  throw new SourceError(`${path}: there is no such file (looked at ${resolve(path)}); check the path`);
}

/**
 * A folder and all below it. Symbolic links are followed, also to the outside: a Hugging Face cache is made of them. Names
 * that lead outside (`../…`, absolute) are refused.
 */
export async function openFolder(path: string): Promise<FileTree> {
  const root = resolve(path);
  const found = await stat(root).catch((cause) => {
    throw notReadable(path, cause, `there is no such folder (looked at ${root})`);
  });
  if (!found.isDirectory()) {
    throw new SourceError(`${path}: expected a folder, found a file; give the folder that holds it`);
  }
  const opened = new Set<ByteSource>();
  return {
    name: path,
    async open(inner, signal) {
      signal?.throwIfAborted();
      const source = await openIfThere(join(root, ...treeSegments(path, inner)), join(path, inner));
      if (source !== null) opened.add(source);
      return source;
    },
    list: (folder = '') => listFiles(root, folder === '' ? root : join(root, ...treeSegments(path, folder))),
    async close() {
      await Promise.all([...opened].map((source) => source.close()));
      opened.clear();
    },
  };
}

async function openIfThere(path: string, name = path): Promise<ByteSource | null> {
  let handle: FileHandle;
  try {
    handle = await open(path, 'r');
  } catch (cause) {
    if (isAbsent(cause)) return null;
    throw notReadable(name, cause);
  }
  try {
    const found = await handle.stat();
    if (!found.isFile()) throw new SourceError(`${name}: expected a file, found a folder or a device`);
    return fileSource(handle, name, found);
  } catch (error) {
    await handle.close();
    throw error;
  }
}

function fileSource(handle: FileHandle, name: string, opened: Stats): ByteSource {
  const { size } = opened;
  let closed = false;
  async function readInto(offset: number, target: Uint8Array, signal?: AbortSignal): Promise<void> {
    const { length } = target;
    signal?.throwIfAborted();
    if (closed) throw new SourceError(`${name}: read after close`);
    checkRange({ name, size }, offset, length);
    for (let at = 0; at < length; ) {
      const want = Math.min(chunkBytes, length - at);
      const { bytesRead } = await handle.read(target, at, want, offset + at).catch((cause) => {
        throw notReadable(name, cause, `reading ${rangeText(offset, length)} failed`);
      });
      signal?.throwIfAborted();
      if (bytesRead === 0) {
        throw new SourceError(
          `${name}: reading ${rangeText(offset, length)} came short after ${at}: the file had ${size} bytes when it was ` +
            'opened and has become shorter; wait until nobody writes to it, then open it again',
        );
      }
      at += bytesRead;
    }
    await checkUnchanged(offset, length);
  }

  // Weights may be read for as long as a model lives. A file that is written to meanwhile, or replaced by another, would
  // give a model that is partly one and partly the other.
  async function checkUnchanged(offset: number, length: number): Promise<void> {
    const now = await handle.stat();
    if (now.nlink > 0 && now.mtimeMs === opened.mtimeMs && now.size === size) return;
    throw new SourceError(
      `${name}: was ${now.nlink > 0 ? 'changed' : 'deleted or replaced'} while it was in use (reading ` +
        `${rangeText(offset, length)}); load the model again`,
    );
  }
  return {
    name,
    size,
    async read(offset, length, signal) {
      checkRange({ name, size }, offset, length); // before memory is taken for it
      const bytes = new Uint8Array(length);
      await readInto(offset, bytes, signal);
      return bytes;
    },
    readInto,
    async close() {
      if (closed) return;
      closed = true;
      await handle.close();
    },
  };
}

async function listFiles(root: string, folder: string): Promise<readonly string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch((cause) => {
    if (isAbsent(cause)) return [];
    throw notReadable(folder, cause);
  });
  return entries
    .filter((entry) => !entry.isDirectory())
    .map((entry) =>
      relative(root, join(entry.parentPath ?? entry.path, entry.name))
        .split(sep)
        .join('/'),
    )
    .sort();
}

const codeOf = (cause: unknown): string => (cause as NodeJS.ErrnoException | null)?.code ?? 'unknown';

const isAbsent = (cause: unknown): boolean => ['ENOENT', 'ENOTDIR'].includes(codeOf(cause));

const notReadable = (name: string, cause: unknown, what = 'cannot be read'): SourceError =>
  new SourceError(`${name}: ${what} (${codeOf(cause)}); check the path and its permissions`, { cause });
