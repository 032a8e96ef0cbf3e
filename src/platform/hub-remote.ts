import { checkRange, rangeText } from '../../weights/byte-range.ts';
import type { ByteSource, FileTree } from '../../weights/byte-source.ts';
import { SourceError } from '../errors.ts';
import { hubCache } from './hub-cache.ts';
import { keptRevision } from './hub-kept.ts';
import { findRevision, type HubFile, listWanted } from './hub-listing.ts';
import type { HubRepo } from './hub-repo.ts';
import { fileUrl, PassingFault, passing, request, retrying } from './hub-request.ts';
import type { HubSettings } from './hub-settings.ts';
import { openFolder } from './node-files.ts';

/**
 * A repository to be looked at: from the cache where it is whole there, else read on the hub by ranges, so that headers of
 * 7.5 GB of weights cost kilobytes. Nothing is kept; to compute with a checkpoint, `hubFolder` fetches it.
 * @throws SourceError when there is no such repository, or no network and nothing in the cache
 */
export async function lookAtHub(
  settings: HubSettings,
  repo: HubRepo,
  signal?: AbortSignal,
): Promise<FileTree> {
  const cache = hubCache(settings.cacheDir, repo.name);
  const kept = await keptRevision(cache, repo);
  if (kept?.missing.length === 0) return openFolder(cache.snapshot(kept.commit));
  if (settings.offline) {
    throw new SourceError(
      `${repo.name}@${repo.revision}: HF_HUB_OFFLINE is set, and the cache ${cache.folder} does not have this revision whole; ` +
        'unset it, so that the hub can be asked',
    );
  }
  const { commit } = await findRevision(settings, repo, signal);
  const files = await listWanted(settings, repo, commit, signal);
  const byPath = new Map(files.map((f) => [f.path, f]));
  return {
    name: repo.name,
    async open(path) {
      const file = byPath.get(path);
      return file ? remoteSource(settings, repo, commit, file) : null;
    },
    async list(folder) {
      const paths = files.map((f) => f.path).sort();
      return folder ? paths.filter((p) => p.startsWith(`${folder.replace(/\/*$/, '')}/`)) : paths;
    },
    async close() {},
  };
}

function remoteSource(settings: HubSettings, repo: HubRepo, commit: string, file: HubFile): ByteSource {
  const name = `${repo.name}/${file.path}`;
  const url = fileUrl(settings, repo, commit, file.path);
  return {
    name,
    size: file.size,
    async read(offset, length, signal) {
      checkRange({ name, size: file.size }, offset, length);
      if (length === 0) return new Uint8Array(0);
      const what = `${name}: ${rangeText(offset, length)}`;
      return retrying(settings, { what, signal }, async () => {
        const limit = AbortSignal.timeout(settings.silenceMs);
        const answer = await request(settings, repo, url, {
          headers: { 'accept-encoding': 'identity', range: `bytes=${offset}-${offset + length - 1}` },
          signal: signal ? AbortSignal.any([signal, limit]) : limit,
        });
        return readRange(answer, offset, length, file);
      });
    },
    async close() {},
  };
}

/** The range of an answer. A server without ranges sends the file from its start: read as far as needed, then hung up on. */
async function readRange(
  answer: Response,
  offset: number,
  length: number,
  { size }: HubFile,
): Promise<Uint8Array> {
  const from =
    answer.status === 206 ? Number(/^bytes (\d+)-/.exec(answer.headers.get('content-range') ?? '')?.[1]) : 0;
  if (from !== (answer.status === 206 ? offset : 0)) {
    await answer.body?.cancel().catch(() => {});
    throw new PassingFault('the server answered with another part of the file');
  }
  const bytes = new Uint8Array(length);
  let at = from;
  try {
    for await (const chunk of answer.body as AsyncIterable<Uint8Array>) {
      const begin = Math.max(offset - at, 0);
      if (begin < chunk.length) {
        bytes.set(chunk.subarray(begin, begin + offset + length - (at + begin)), at + begin - offset);
      }
      at += chunk.length;
      if (at >= offset + length) return bytes;
    }
  } catch (error) {
    throw passing(error, 'the answer broke off');
  }
  throw new PassingFault(`the answer ended at byte ${at} of ${size}`);
}
