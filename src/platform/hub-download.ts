import { SourceError } from '../errors.ts';
import { fetchBlob } from './hub-blob.ts';
import {
  type HubCache,
  hubCache,
  isInSnapshot,
  isThere,
  readNote,
  showInSnapshot,
  sizeOf,
  writeNote,
} from './hub-cache.ts';
import { checkRoom, diskError } from './hub-disk.ts';
import { keepListing, keptListing, keptRevision } from './hub-kept.ts';
import { findRevision, type HubFile, type HubRevision, listWanted } from './hub-listing.ts';
import { withLock } from './hub-lock.ts';
import { type OnDownload, progressMeter } from './hub-progress.ts';
import { type HubRepo, isCommit } from './hub-repo.ts';
import { fileUrl, isUnreachable } from './hub-request.ts';
import type { HubSettings } from './hub-settings.ts';

export type HubOptions = {
  readonly signal?: AbortSignal;
  /** Called while files arrive; never when all are in the cache. */
  readonly onDownload?: OnDownload;
  /** Told what the user should know: the licence before a first download, a hub out of reach. Default: `console.warn`. */
  readonly onNotice?: (text: string) => void;
  /** Stands in for the file system's answer. */
  readonly freeBytes?: (folder: string) => Promise<number>;
};

/** Files that arrive side by side. One connection seldom fills a fast line. */
const sideBySide = 4;

/**
 * The folder in the cache that holds this revision of a repository, after fetching what is missing there.
 * @throws SourceError when that cannot be done; what has arrived by then stays for the next start
 */
export async function hubFolder(
  settings: HubSettings,
  repo: HubRepo,
  options: HubOptions = {},
): Promise<string> {
  const { signal, onNotice = console.warn } = options;
  signal?.throwIfAborted();
  const cache = hubCache(settings.cacheDir, repo.name);
  const kept = await keptRevision(cache, repo);
  const whole = kept?.missing.length === 0 ? kept : null;
  if (settings.offline) {
    if (whole) return cache.snapshot(whole.commit);
    throw new SourceError(
      `${repo.name}@${repo.revision}: HF_HUB_OFFLINE is set, and the cache ${cache.folder} ` +
        `${kept ? `lacks ${kept.missing.join(', ')}` : 'does not have this revision'}; ` +
        'unset it once, so that the checkpoint can be fetched',
    );
  }
  if (whole?.certain && isCommit(repo.revision)) return cache.snapshot(whole.commit);
  let current: Current;
  try {
    current = await askHub(whole ? { ...settings, attempts: 1 } : settings, repo, cache, signal);
  } catch (error) {
    if (!whole || !isUnreachable(error)) throw error;
    const why = (error as Error).message.split(';')[0];
    onNotice(`${why}; taking ${repo.name} as it is in the cache (commit ${whole.commit})`);
    return cache.snapshot(whole.commit);
  }
  await fetchAll(settings, repo, cache, current, options);
  return cache.snapshot(current.commit);
}

type Current = HubRevision & { readonly files: readonly HubFile[] };

async function askHub(
  settings: HubSettings,
  repo: HubRepo,
  cache: HubCache,
  signal?: AbortSignal,
): Promise<Current> {
  const revision = await findRevision(settings, repo, signal);
  const { commit } = revision;
  const files = (await keptListing(cache, commit)) ?? (await listWanted(settings, repo, commit, signal));
  return { ...revision, files };
}

async function fetchAll(
  settings: HubSettings,
  repo: HubRepo,
  cache: HubCache,
  { commit, licence, files }: Current,
  options: HubOptions,
): Promise<void> {
  const there = await Promise.all(files.map((file) => isInSnapshot(cache, commit, file)));
  const absent = files.filter((_, i) => !there[i]);
  if (absent.length > 0) {
    const left = await Promise.all(absent.map((file) => bytesLeft(cache, file)));
    const needed = left.reduce((sum, bytes) => sum + bytes, 0);
    if (needed > 0) await showLicence(cache, licence, options.onNotice ?? console.warn);
    await checkRoom(settings.cacheDir, needed, options.freeBytes);
    const total = files.reduce((sum, { size }) => sum + size, 0);
    const done = total - absent.reduce((sum, { size }) => sum + size, 0);
    const meter = progressMeter(total, done, options.onDownload ?? (() => {}));
    await inParallel(absent, options.signal, (file, signal) =>
      fetchOne(settings, repo, cache, commit, file, signal, (at, fresh) => meter.at(file.path, at, fresh)),
    );
    if (needed > 0) meter.finish();
  }
  await keepListing(cache, commit, files);
  // Only now: an offline start shall find the last revision that is complete.
  if (repo.revision !== commit) await writeNote(cache.ref(repo.revision), commit);
}

async function fetchOne(
  settings: HubSettings,
  repo: HubRepo,
  cache: HubCache,
  commit: string,
  file: HubFile,
  signal: AbortSignal,
  onPlace: (at: number, fresh: number) => void,
): Promise<void> {
  const blob = cache.blob(file.etag);
  // While another process fetches it, its file tells how far it is.
  const isDone = async () => {
    const at = (await sizeOf(`${blob}.incomplete`)) ?? 0;
    onPlace(Math.min(at, file.size), 0);
    return isThere(blob, file.size);
  };
  const url = fileUrl(settings, repo, commit, file.path);
  try {
    if (!(await isDone())) {
      await withLock(cache.lock(file.etag), { signal, isDone }, () =>
        fetchBlob({ settings, repo, file, url, blob, signal, onPlace }),
      );
    }
    onPlace(file.size, 0);
    await showInSnapshot(cache, commit, file);
  } catch (error) {
    // System errors have a code; ours speak for themselves already.
    throw (error as NodeJS.ErrnoException).syscall ? diskError(error, blob, file.size) : error;
  }
}

async function bytesLeft(cache: HubCache, { etag, size }: HubFile): Promise<number> {
  const blob = cache.blob(etag);
  if (await isThere(blob, size)) return 0;
  const before = (await sizeOf(`${blob}.incomplete`)) ?? 0;
  return before <= size ? size - before : size;
}

/** Once a repository, and again if its licence changes. Tells; never asks. */
async function showLicence(
  cache: HubCache,
  licence: string,
  onNotice: (text: string) => void,
): Promise<void> {
  const marker = cache.note('licence-shown');
  if ((await readNote(marker)) === licence) return;
  onNotice(licence);
  await writeNote(marker, licence);
}

/** Runs a few at a time. After a failure the others stop, and only when all have put down their pens it is thrown. */
async function inParallel<T>(
  items: readonly T[],
  signal: AbortSignal | undefined,
  run: (item: T, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const failure = new AbortController();
  const stop = signal ? AbortSignal.any([signal, failure.signal]) : failure.signal;
  const queue = items.values();
  const worker = async () => {
    for (const item of queue) {
      if (stop.aborted) return;
      await run(item, stop).catch((error) => failure.abort(error));
    }
  };
  await Promise.all(Array.from({ length: sideBySide }, worker));
  stop.throwIfAborted();
}
