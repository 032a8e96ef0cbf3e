import type { FileTree } from '../../weights/byte-source.ts';
import { httpTree } from '../../weights/http-source.ts';
import type { Door } from '../door.ts';
import { InputError } from '../errors.ts';
import { EmbedderCore } from '../jina-embeddings.ts';
import { openEmbedder } from '../open.ts';
import type { LoadOptions } from '../options.ts';
import { decodeInBrowser } from './browser-image.ts';
import { browserEngines } from './engines-browser.ts';
import { fetchBytes } from './fetch-bytes.ts';

export * from '../index.ts';

/** What a page or worker supplies to the core: fetch, the browser's image decoders, and its TF.js backends. */
export type BrowserOptions = {
  /** Folder URL of the `.wasm` files of @tensorflow/tfjs-backend-wasm. Default: beside the page. */
  readonly wasmPath?: string;
};

export const browserDoor = (options: BrowserOptions = {}): Door => ({
  platform: 'browser',
  openTree: async (source, signal) => httpTree(new URL(source, globalThis.location.href), { signal }),
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
