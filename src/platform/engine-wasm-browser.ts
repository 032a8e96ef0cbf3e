import { startGemmThreads } from '../../kernels/wasm/start-threads.ts';
import type { Engine, EngineOptions, EngineReport } from '../device-engine.ts';
import { DeviceError } from '../errors.ts';
import { spawnThread } from './gemm-thread-browser.ts';

const MOST_THREADS = 4; // the pool of the published wasm build never has more

// One a page: replacing the backend would strand the tensors that live on it. The first start decides the threads.
let started: Promise<EngineReport> | null = null;

/**
 * TF.js on WebAssembly in a page or worker. `wasmPath` is the folder URL of the `.wasm` files of
 * @tensorflow/tfjs-backend-wasm. Default: the folder of the page, or of the worker's script.
 */
export function wasmBrowserEngine(wasmPath?: string): Engine {
  return {
    name: 'wasm',
    probe: async () => report(threadsFor()),
    start: (options) => {
      started ??= start(wasmPath, options).catch((error) => {
        started = null; // another path may work
        throw error;
      });
      return started;
    },
  };
}

function report(threads: number): EngineReport {
  const isolated = globalThis.crossOriginIsolated
    ? ''
    : '; more need a page served with the headers Cross-Origin-Opener-Policy: same-origin and ' +
      'Cross-Origin-Embedder-Policy: require-corp';
  return {
    available: true,
    detail: `WebAssembly SIMD, ${threads} thread${threads === 1 ? '' : 's'}${isolated}`,
    hardware: 'cpu',
    threads,
  };
}

/** Threads share memory, which a browser allows only to pages that are isolated from other origins. */
const threadsFor = ({ threads = navigator.hardwareConcurrency }: EngineOptions = {}): number =>
  globalThis.crossOriginIsolated ? Math.max(1, Math.min(threads, MOST_THREADS)) : 1;

async function start(wasmPath: string | undefined, options: EngineOptions = {}): Promise<EngineReport> {
  const threads = threadsFor(options);
  const folder = folderUrl(wasmPath);
  await checkServed(new URL(`tfjs-backend-wasm-${threads > 1 ? 'threaded-simd' : 'simd'}.wasm`, folder));
  const tf = await import('@tensorflow/tfjs-core');
  const { getThreadsCount, setWasmPaths } = await import('@tensorflow/tfjs-backend-wasm');
  setWasmPaths(folder.href);
  // One thread takes the plain build: the threaded one starts eight workers however few compute.
  if (threads === 1) tf.env().set('WASM_HAS_MULTITHREAD_SUPPORT', false);
  const ready = await withCores(2 * threads, () => tf.setBackend('wasm'));
  if (!ready)
    throw new DeviceError(`the WebAssembly backend does not start here; its files are at ${folder}`);
  await startGemmThreads(tf.backend(), threads, spawnThread);
  return report(getThreadsCount());
}

/** The folder as an absolute URL that ends in a slash. */
function folderUrl(wasmPath?: string): URL {
  const { href } = globalThis.location;
  if (!URL.canParse(wasmPath ?? '.', href)) {
    throw new DeviceError(
      `the wasm backend's files cannot be looked for at "${wasmPath ?? '.'}" from ${href}; ` +
        'give the absolute URL of their folder as wasmPath',
    );
  }
  const folder = new URL(wasmPath ?? '.', href);
  folder.pathname = folder.pathname.replace(/\/*$/, '/');
  return folder;
}

// Emscripten's own failure names neither the file nor the reason, and after it the backend cannot be given another path.
async function checkServed(file: URL): Promise<void> {
  let why: string | null;
  try {
    const answer = await fetch(file); // not HEAD, which simple servers refuse
    void answer.body?.cancel().catch(() => {});
    const html = /html/i.test(answer.headers.get('content-type') ?? ''); // many servers answer every path with a page
    why =
      answer.ok && !html
        ? null
        : `the server answered ${html && answer.ok ? 'with a web page' : answer.status}`;
  } catch (error) {
    why = (error as Error).message;
  }
  if (why === null) return;
  throw new DeviceError(
    `${file}: ${why}; copy the .wasm files of node_modules/@tensorflow/tfjs-backend-wasm/dist there, or say where ` +
      'they are with the option wasmPath',
  );
}

/**
 * The pool's size is fixed at start as half the cores it sees (setThreadsCount does nothing in TF.js 4.22), so it is
 * shown twice as many as it shall have threads.
 */
async function withCores<T>(count: number, f: () => Promise<T>): Promise<T> {
  // The real value is a getter of the prototype: this shadows it, and deleting the shadow restores it.
  Object.defineProperty(navigator, 'hardwareConcurrency', { get: () => count, configurable: true });
  try {
    return await f();
  } finally {
    Reflect.deleteProperty(navigator, 'hardwareConcurrency');
  }
}
