import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import os from 'node:os';
import { dirname, join, resolve } from 'node:path';

type Thread = { terminate(): unknown; unref?(): void };

/** What this file uses of the object that Emscripten's loader fills in. */
export type WasmModule = {
  cwrap(name: string, result: string | null, args: string[]): (...args: number[]) => number;
  PThread: { unusedWorkers: Thread[]; runningWorkers: Thread[] };
  tfjs?: Readonly<Record<string, (...args: number[]) => number>>;
};

const SCRIPT = 'tfjs-backend-wasm-threaded-simd.js';
const WORKER = 'tfjs-backend-wasm-threaded-simd.worker.js';

/**
 * The threaded build of the wasm backend, started in Node. The stock loader refuses: it starts its workers from a Blob
 * URL, which Node has not. A file works, and is needed only until the workers have read it.
 */
export async function loadThreadedWasm(threads: number): Promise<WasmModule> {
  const require = createRequire(import.meta.url);
  const out = resolve(dirname(require.resolve('@tensorflow/tfjs-backend-wasm')), '../wasm-out');
  const { wasmWorkerContents } = require(join(out, WORKER)) as { wasmWorkerContents: string };
  const start = require(join(out, SCRIPT)) as (o: object) => Promise<WasmModule>;
  const folder = mkdtempSync(join(os.tmpdir(), 'tfjs-wasm-worker-'));
  const removeFolder = () => rmSync(folder, { recursive: true, force: true });
  process.once('exit', removeFolder);
  try {
    const workerFile = join(folder, 'worker.js');
    writeFileSync(workerFile, wasmWorkerContents.replace(/\n/g, '\\n')); // the text was meant for a template literal
    const options = {
      locateFile: (file: string) => (file === WORKER ? workerFile : join(out, file)),
      mainScriptUrlOrBlob: join(out, SCRIPT),
    };
    const ready = withCores(2 * threads, () => start(options));
    dropSurplusWorkers((options as unknown as WasmModule).PThread, threads);
    const module = await ready;
    module.tfjs = exportedFunctions(module);
    return module;
  } finally {
    removeFolder();
    process.off('exit', removeFolder);
  }
}

/** Idle threads must not keep a finished process alive. Emscripten holds each thread that it ever started. */
export function releaseThreads({ PThread }: WasmModule): void {
  for (const worker of [...PThread.unusedWorkers, ...PThread.runningWorkers]) worker.unref?.();
}

// Emscripten starts eight workers whatever the need, each with its own JavaScript heap. Those that no thread will use
// are ended before the module waits for them to load.
function dropSurplusWorkers({ unusedWorkers }: WasmModule['PThread'], threads: number): void {
  for (const worker of unusedWorkers.splice(threads)) void worker.terminate();
}

/** What the stock loader puts on the module after loading (tfjs-backend-wasm: backend_wasm.ts, init). */
function exportedFunctions(module: WasmModule): WasmModule['tfjs'] {
  const numbers = (count: number) => new Array<string>(count).fill('number');
  return {
    init: module.cwrap('init', null, []),
    initWithThreadsCount: module.cwrap('init_with_threads_count', null, numbers(1)),
    getThreadsCount: module.cwrap('get_threads_count', 'number', []),
    registerTensor: module.cwrap('register_tensor', null, numbers(3)),
    disposeData: module.cwrap('dispose_data', null, numbers(1)),
    dispose: module.cwrap('dispose', null, []),
  };
}

// The pool has half as many threads as the machine seems to have cores, at most four (backend.cc). So it is shown twice
// as many cores as it shall have threads. Emscripten asks more than once while it starts.
async function withCores<T>(count: number, run: () => Promise<T>): Promise<T> {
  const real = os.cpus;
  const [core] = real();
  os.cpus = () => new Array(count).fill(core);
  try {
    return await run();
  } finally {
    os.cpus = real;
  }
}
