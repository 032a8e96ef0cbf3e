import { readFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import { dirname, extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const GOLDEN = here('../../golden');
const WASM = dirname(createRequire(import.meta.url).resolve('@tensorflow/tfjs-backend-wasm'));

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.json': 'application/json',
  '.wasm': 'application/wasm',
  '.png': 'image/png',
};

export type PageServer = {
  /** Isolated from other origins, as threads demand. */
  readonly url: string;
  /** Paths that were asked for, in order. */
  readonly asked: readonly string[];
  close(): void;
};

/**
 * Serves the page, its bundle, the golden checkpoint and the wasm files.
 * /golden takes ranges; /whole is the same folder on a server that ignores them; /open is the page without isolation.
 */
export async function servePage(): Promise<PageServer> {
  const scripts = await bundle();
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(request.url ?? '');
    answer(scripts, request, response).catch(() => response.writeHead(404, { 'content-length': 0 }).end());
  });
  await new Promise<void>((ready) => server.listen(0, 'localhost', ready));
  return {
    url: `http://localhost:${(server.address() as AddressInfo).port}`,
    asked,
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}

/** The scripts by their path. */
async function bundle(): Promise<ReadonlyMap<string, Uint8Array>> {
  const { outputFiles } = await build({
    entryPoints: [here('page.ts'), here('worker.ts')],
    bundle: true,
    format: 'esm',
    outdir: '/',
    write: false,
  });
  return new Map(outputFiles.map(({ path, contents }) => [path, contents]));
}

async function answer(
  scripts: ReadonlyMap<string, Uint8Array>,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const path = new URL(request.url ?? '', 'http://localhost').pathname;
  const file = fileOf(path);
  const bytes = scripts.get(path) ?? (await readFile(file)); // a file that is not there: 404
  response.setHeader('content-type', TYPES[extname(file)] ?? 'application/octet-stream');
  response.setHeader('cache-control', 'no-store');
  if (path !== '/open') {
    response.setHeader('cross-origin-opener-policy', 'same-origin');
    response.setHeader('cross-origin-embedder-policy', 'require-corp');
  }
  const range = path.startsWith('/whole/') ? null : /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '');
  if (!range) {
    response.end(bytes);
    return;
  }
  const [begin, last] = [Number(range[1]), Math.min(Number(range[2]), bytes.length - 1)];
  response.writeHead(206, { 'content-range': `bytes ${begin}-${last}/${bytes.length}` });
  response.end(bytes.subarray(begin, last + 1));
}

function fileOf(path: string): string {
  const [, folder, ...rest] = path.split('/');
  const name = join('/', ...rest);
  if (folder === 'golden' || folder === 'whole') return join(GOLDEN, name);
  if (folder === 'wasm') return join(WASM, name);
  return folder === '' || folder === 'open' ? here('index.html') : path;
}
