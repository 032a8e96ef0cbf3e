import { randomUUID } from 'node:crypto';
import { copyFile, link, mkdir, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import type { HubFile } from './hub-listing.ts';

/**
 * The folder of a repository in the cache that the Python library also uses:
 * `blobs/<etag>` hold the bytes, `snapshots/<commit>/<path>` are links to them, `refs/<revision>` hold a commit.
 * Notes of our own lie in `.jina-embeddings/`, which Python does not look at.
 */
export type HubCache = {
  readonly folder: string;
  blob(etag: string): string;
  /** Python's locks there are of another kind (flock), hence another name. */
  lock(etag: string): string;
  snapshot(commit: string): string;
  ref(revision: string): string;
  note(name: string): string;
};

export function hubCache(cacheDir: string, repo: string): HubCache {
  const name = `models--${repo.replace('/', '--')}`;
  const folder = join(cacheDir, name);
  return {
    folder,
    blob: (etag) => join(folder, 'blobs', etag),
    lock: (etag) => join(cacheDir, '.locks', name, `${etag}.node.lock`),
    snapshot: (commit) => join(folder, 'snapshots', commit),
    ref: (revision) => join(folder, 'refs', revision),
    note: (note) => join(folder, '.jina-embeddings', note),
  };
}

/** Whether there is a file of this size, itself or behind links. */
export const isThere = async (path: string, size: number): Promise<boolean> => (await sizeOf(path)) === size;

export const sizeOf = async (path: string): Promise<number | null> =>
  stat(path).then(
    (found) => (found.isFile() ? found.size : null),
    () => null,
  );

export const isInSnapshot = (cache: HubCache, commit: string, { path, size }: HubFile): Promise<boolean> =>
  isThere(join(cache.snapshot(commit), path), size);

/** Makes a blob visible under its name in the snapshot, whatever was there before. */
export async function showInSnapshot(
  cache: HubCache,
  commit: string,
  { path, etag }: HubFile,
  makeLink: typeof symlink = symlink,
): Promise<void> {
  const blob = cache.blob(etag);
  const shown = join(cache.snapshot(commit), path);
  await mkdir(dirname(shown), { recursive: true });
  await replacing(shown, async (fresh) => {
    // Relative, so that the cache can be moved. Windows allows symbolic links only to some users; then a second name on
    // the same bytes, or, on file systems without those, a copy.
    await makeLink(relative(dirname(shown), blob), fresh)
      .catch(() => link(blob, fresh))
      .catch(() => copyFile(blob, fresh));
  });
}

/** The commit that a branch or tag stood for at its last download. */
export const readRef = async (cache: HubCache, revision: string): Promise<string | null> =>
  (await readNote(cache.ref(revision)))?.trim() ?? null;

export const readNote = (path: string): Promise<string | null> => readFile(path, 'utf8').catch(() => null);

/** Writes a small file at once, where it says something new. A cache that is read-only stays as it is. */
export async function writeNote(path: string, text: string): Promise<void> {
  if ((await readNote(path)) === text) return;
  try {
    await mkdir(dirname(path), { recursive: true });
    await replacing(path, (fresh) => writeFile(fresh, text));
  } catch {
    // Notes save a question to the hub next time. Nothing depends on them.
  }
}

/** Makes a file under a passing name, then gives it its own: nobody ever sees half of it. */
async function replacing(path: string, make: (fresh: string) => Promise<void>): Promise<void> {
  const fresh = `${path}.${randomUUID().slice(0, 8)}.tmp`;
  try {
    await make(fresh);
    await rename(fresh, path);
  } catch (error) {
    await rm(fresh, { force: true });
    throw error;
  }
}
