import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { freemem, totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { FileTree } from '../../weights/byte-source.ts';
import { httpTree } from '../../weights/http-source.ts';
import type { Door } from '../door.ts';
import { InputError, SourceError } from '../errors.ts';
import { EmbedderCore } from '../jina-embeddings.ts';
import { openEmbedder } from '../open.ts';
import type { LoadOptions } from '../options.ts';
import { nodeEngines } from './engines-node.ts';
import { fetchBytes, isHttp } from './fetch-bytes.ts';
import { hubFolder } from './hub-download.ts';
import type { OnDownload } from './hub-progress.ts';
import { lookAtHub } from './hub-remote.ts';
import { parseHubRepo } from './hub-repo.ts';
import { hubSettings } from './hub-settings.ts';
import { openFolder } from './node-files.ts';
import { decodeWithSharp } from './node-image.ts';

export * from '../index.ts';
export type { HubProgress, OnDownload } from './hub-progress.ts';
export { saveAdapter } from './node-adapter.ts';
export { openFileSource, openFolder } from './node-files.ts';

/** Options that only Node has: they concern repositories on the Hugging Face hub. */
export type NodeOptions = {
  /** Where a download is, in bytes over all files. Default: `onProgress` is told of the download, too. */
  readonly onDownload?: OnDownload;
  /** Told the licence before a first download, and that the hub is out of reach. Default: `console.warn`. */
  readonly onNotice?: (text: string) => void;
};

const engines = nodeEngines();

/** What Node supplies to the core: files, HTTP, the hub, sharp, and its TF.js backends. */
export const nodeDoorWith = (options: NodeOptions = {}): Door => ({
  platform: 'node',
  openTree: async (source, signal) =>
    isHttp(source) ? httpTree(source, { signal }) : openFolder(await folderOf(source, options, signal)),
  openDefault: () => openFolder(defaultModelPath()),
  readBytes: (source, signal) =>
    isHttp(source) || isData(source) ? fetchBytes(source, signal) : readFileBytes(source, signal),
  decodeImage: decodeWithSharp,
  engines,
  env: process.env,
  memory: () => ({ total: totalmem(), free: freemem() }),
});

export const nodeDoor: Door = nodeDoorWith();

/** A checkpoint to be described, not run: of a repository on the hub only what is read comes over the line. */
export async function openToLook(source: string | null, signal?: AbortSignal): Promise<FileTree> {
  if (source === null) return nodeDoor.openDefault();
  const repo = isHttp(source) || existsSync(pathOf(source)) ? null : parseHubRepo(source);
  return repo === null
    ? nodeDoor.openTree(source, signal)
    : lookAtHub(await hubSettings(process.env), repo, signal);
}

/** Texts and images into one vector space. `using model = await JinaEmbeddings.load(folder)` frees it at the end of the block. */
export class JinaEmbeddings extends EmbedderCore {
  /**
   * Loads a checkpoint in the published layout from a folder, a URL, or a repository on the Hugging Face hub
   * (`owner/name`, or `owner/name@revision`, kept in the hub's cache); without a source, the small one that ships with the
   * package. Settings given here become the defaults of every call. `revision`: a branch, tag or commit; default `main`.
   */
  static async load(
    source: string | URL | FileTree | null = null,
    options: LoadOptions & NodeOptions & { readonly revision?: string } = {},
  ): Promise<JinaEmbeddings> {
    const { revision, onNotice, onDownload, ...load } = options;
    const { onProgress } = load;
    const door = nodeDoorWith({
      onNotice,
      onDownload: onDownload ?? (onProgress && (({ done, total }) => onProgress(done, total))),
    });
    const place = revision === undefined ? source : atRevision(source, revision);
    return new JinaEmbeddings(await openEmbedder(door, place, load));
  }
}

/** `weights/default` of this package, seen from the sources and from the build alike. */
export function defaultModelPath(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'package.json'))) folder = dirname(folder);
  return join(folder, 'weights', 'default');
}

const isData = (source: string | URL): boolean => /^data:/i.test(String(source));

const pathOf = (source: string | URL): string =>
  source instanceof URL || /^file:/i.test(source) ? fileURLToPath(source) : source;

/** A folder that exists comes first; then what can be a repository's name is one, and is fetched. */
async function folderOf(source: string | URL, options: NodeOptions, signal?: AbortSignal): Promise<string> {
  const path = pathOf(source);
  const repo = existsSync(path) ? null : parseHubRepo(path);
  return repo === null ? path : hubFolder(await hubSettings(process.env), repo, { ...options, signal });
}

function atRevision(source: string | URL | FileTree | null, revision: string): string {
  const repo = typeof source === 'string' && !existsSync(source) ? parseHubRepo(source, revision) : null;
  if (repo !== null) return `hf:${repo.name}@${repo.revision}`;
  throw new InputError(
    `revision "${revision}" was given, but only repositories on the hub (owner/name) have revisions; leave it out`,
  );
}

async function readFileBytes(source: string | URL, signal?: AbortSignal): Promise<Uint8Array> {
  const path = pathOf(source);
  try {
    return await readFile(path, { signal });
  } catch (error) {
    signal?.throwIfAborted();
    const reason =
      (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'there is no such file' : (error as Error).message;
    throw new SourceError(`${path}: ${reason}; check the path`, { cause: error });
  }
}
