import { mkdir, statfs } from 'node:fs/promises';
import { SourceError } from '../errors.ts';

/** Refuses before the first byte when the disk cannot take what is still to come. */
export async function checkRoom(
  cacheDir: string,
  needed: number,
  freeBytes: (folder: string) => Promise<number> = freeOnDisk,
): Promise<void> {
  await onDisk(cacheDir, needed, () => mkdir(cacheDir, { recursive: true }));
  const free = await freeBytes(cacheDir).catch(() => Number.POSITIVE_INFINITY); // not every file system tells
  if (free < needed) throw new SourceError(fullText(cacheDir, needed, free));
}

/** Runs something that writes, and says what the system's complaint means. `needed`: bytes still to be written. */
export async function onDisk<T>(path: string, needed: number, write: () => Promise<T>): Promise<T> {
  try {
    return await write();
  } catch (error) {
    throw diskError(error, path, needed);
  }
}

/** What the system says about a folder or file of the cache, in words that help. */
export function diskError(error: unknown, path: string, needed: number): SourceError {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new SourceError(fullText(path, needed, 0), { cause: error });
  }
  const hint = 'choose another folder with HF_HUB_CACHE, or mend its permissions';
  return new SourceError(`${path}: the cache cannot be written (${code ?? message}); ${hint}`, {
    cause: error,
  });
}

const freeOnDisk = async (folder: string): Promise<number> => {
  const { bavail, bsize } = await statfs(folder);
  return bavail * bsize;
};

const fullText = (path: string, needed: number, free: number): string =>
  `${path}: there is not enough room on the disk: ${inMb(needed)} more are needed, ${free > 0 ? inMb(free) : 'none'} are free; ` +
  'make room, or choose a folder on another disk with HF_HUB_CACHE. What has arrived stays, and the next start resumes';

const inMb = (bytes: number): string =>
  bytes >= 1e6 ? `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB` : `${bytes} bytes`;
