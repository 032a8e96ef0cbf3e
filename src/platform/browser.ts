import type { FileTree } from '../../weights/byte-source.ts';
import { httpTree } from '../../weights/http-source.ts';
import type { Door } from '../door.ts';
import { InputError, SourceError } from '../errors.ts';
import { EmbedderCore } from '../jina-embeddings.ts';
import { openEmbedder } from '../open.ts';
import type { LoadOptions } from '../options.ts';
import { decodeInBrowser } from './browser-image.ts';
import { browserEngines } from './engines-browser.ts';
import { fetchBytes } from './fetch-bytes.ts';

export * from '../index.ts';

/** What a page or worker supplies to the core: fetch, the browser's image decoders, and its TF.js backends. */
export type BrowserOptions = {
  /** Folder URL of the `.wasm` files of @tensorflow/tfjs-backend-wasm. Default: the folder of the page. */
  readonly wasmPath?: string;
};

export const browserDoor = (options: BrowserOptions = {}): Door => ({
  platform: 'browser',
  openTree: async (source, signal) => httpTree(absolute(source), { signal }),
  openDefault: async () => {
    throw new InputError(
      'JinaEmbeddings.load needs the URL of a checkpoint folder in a browser; serve weights/default for a try',
    );
  },
  readBytes: fetchBytes,
  decodeImage: decodeInBrowser,
  engines: browserEngines(options),
  env: {},
  memory: () => null,
});

/** Relative to the page. A worker that was made from a Blob has no place of its own: there only absolute URLs work. */
function absolute(source: string | URL): URL {
  const { href } = globalThis.location;
  if (URL.canParse(String(source), href)) return new URL(source, href);
  throw new SourceError(
    `"${source}" is no URL as seen from ${href}; give the absolute URL of the checkpoint folder`,
  );
}

/** Texts and images into one vector space, in a page or worker: the same calls as in Node. */
export class JinaEmbeddings extends EmbedderCore {
  /** Loads a checkpoint folder over HTTP. `wasmPath` says where the wasm backend's files are served. */
  static async load(
    source: string | URL | FileTree,
    options: LoadOptions & BrowserOptions = {},
  ): Promise<JinaEmbeddings> {
    const { wasmPath, ...load } = options;
    return new JinaEmbeddings(await openEmbedder(browserDoor({ wasmPath }), source, load));
  }
}
