import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { freemem, totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { FileTree } from '../../weights/byte-source.ts';
import { httpTree } from '../../weights/http-source.ts';
import type { Door } from '../door.ts';
import { SourceError } from '../errors.ts';
import { EmbedderCore } from '../jina-embeddings.ts';
import { openEmbedder } from '../open.ts';
import type { LoadOptions } from '../options.ts';
import { nodeEngines } from './engines-node.ts';
import { fetchBytes, isHttp } from './fetch-bytes.ts';
import { openFolder } from './node-files.ts';
import { decodeWithSharp } from './node-image.ts';

export * from '../index.ts';
export { openFileSource, openFolder } from './node-files.ts';

/** What Node supplies to the core: files, HTTP, sharp, and its TF.js backends. */
export const nodeDoor: Door = {
  platform: 'node',
  openTree: async (source, signal) =>
    isHttp(source) ? httpTree(source, { signal }) : openFolder(pathOf(source)),
  openDefault: () => openFolder(defaultModelPath()),
  readBytes: (source, signal) =>
    isHttp(source) || isData(source) ? fetchBytes(source, signal) : readFileBytes(source, signal),
  decodeImage: decodeWithSharp,
  engines: nodeEngines(),
  env: process.env,
  memory: () => ({ total: totalmem(), free: freemem() }),
};

/** Texts and images into one vector space. `using model = await JinaEmbeddings.load(folder)` frees it at the end of the block. */
export class JinaEmbeddings extends EmbedderCore {
  /**
   * Loads a checkpoint in the published layout from a folder or a URL; without a source, the small one that ships with
   * the package. Settings given here become the defaults of every call.
   */
  static async load(
    source: string | URL | FileTree | null = null,
    options: LoadOptions = {},
  ): Promise<JinaEmbeddings> {
    return new JinaEmbeddings(await openEmbedder(nodeDoor, source, options));
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
