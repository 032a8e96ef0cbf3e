import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type HubCache, isInSnapshot, readNote, readRef, sizeOf, writeNote } from './hub-cache.ts';
import type { HubFile } from './hub-listing.ts';
import { type HubRepo, isCommit } from './hub-repo.ts';

/** What the cache holds of a revision, as far as can be told without the hub. */
export type Kept = {
  readonly commit: string;
  /** Needed files that are not there, or not whole. */
  readonly missing: readonly string[];
  /** Judged by the hub's own list of the files, kept from an earlier download. Without it, adapters cannot be missed. */
  readonly certain: boolean;
};

export async function keptRevision(cache: HubCache, { revision }: HubRepo): Promise<Kept | null> {
  const commit = isCommit(revision) ? revision : await readRef(cache, revision);
  if (commit === null || !isCommit(commit)) return null;
  const files = await keptListing(cache, commit);
  if (files === null) {
    return { commit, missing: await missingByContent(cache.snapshot(commit)), certain: false };
  }
  const there = await Promise.all(files.map((file) => isInSnapshot(cache, commit, file)));
  return { commit, missing: files.filter((_, i) => !there[i]).map((f) => f.path), certain: true };
}

// The number rises when the choice of needed files does (hub-listing.ts): an older list would hide the new ones.
const listingNote = (cache: HubCache, commit: string): string => cache.note(`files-1-${commit}.json`);

export const keepListing = (cache: HubCache, commit: string, files: readonly HubFile[]): Promise<void> =>
  writeNote(listingNote(cache, commit), JSON.stringify(files));

/** The list of a commit's files, if it was kept. It never changes. */
export async function keptListing(cache: HubCache, commit: string): Promise<readonly HubFile[] | null> {
  try {
    const files: unknown = JSON.parse((await readNote(listingNote(cache, commit))) ?? '');
    const sound = (f: Record<string, unknown>) =>
      typeof f.path === 'string' && typeof f.size === 'number' && typeof f.etag === 'string';
    return Array.isArray(files) && files.length > 0 && files.every(sound) ? (files as HubFile[]) : null;
  } catch {
    return null;
  }
}

/** Of a snapshot that another program made: a checkpoint tells itself what belongs to it. */
async function missingByContent(snapshot: string): Promise<readonly string[]> {
  const names = await readdir(snapshot, { recursive: true }).catch(() => []);
  const there = new Set(names.map((name) => name.replaceAll('\\', '/')));
  const adapters = [...there].filter((name) => /(?:^|\/)adapter_config\.json$/.test(name));
  const wanted = adapters.map((name) => name.replace('adapter_config.json', 'adapter_model.safetensors'));
  if (!there.has('adapter_config.json') || there.has('config.json')) {
    wanted.push('config.json', 'preprocessor_config.json', 'tokenizer.json', 'tokenizer_config.json');
    wanted.push(...(there.has('model.safetensors') ? [] : await shards(snapshot)));
  }
  // A name may be a link to a blob that is gone.
  const sizes = await Promise.all(wanted.map((name) => sizeOf(join(snapshot, name))));
  return wanted.filter((_, i) => sizes[i] === null);
}

async function shards(snapshot: string): Promise<readonly string[]> {
  const index = 'model.safetensors.index.json';
  try {
    const { weight_map } = JSON.parse(await readFile(join(snapshot, index), 'utf8')) as {
      weight_map: Record<string, string>;
    };
    return [...new Set(Object.values(weight_map))];
  } catch {
    return [index];
  }
}
