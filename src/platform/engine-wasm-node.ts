import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import os from 'node:os';
import { dirname, join, resolve } from 'node:path';
import type { Engine, EngineOptions, EngineReport } from '../device-engine.ts';

const MOST_THREADS = 4; // the pool of the published wasm build never has more

// One a process: replacing the backend would strand the tensors that live on it. The first start decides the threads.
let started: Promise<EngineReport> | null = null;

/** TF.js on WebAssembly in Node, with the threads that stock TF.js has only in the browser. */
export function wasmNodeEngine(): Engine {
  return {
    name: 'wasm',
    probe: async () => report(Math.min(os.cpus().length, MOST_THREADS)),
    start: (options) => {
      started ??= start(options);
      return started;
    },
  };
}

const report = (threads: number, note = ''): EngineReport => ({
  available: true,
  detail: `WebAssembly SIMD, ${threads} thread${threads === 1 ? '' : 's'}${note}`,
  hardware: 'cpu',
  device: os.cpus()[0]?.model,
  threads,
});

async function start({ threads = os.cpus().length }: EngineOptions = {}): Promise<EngineReport> {
  const wanted = Math.max(1, Math.min(threads, MOST_THREADS));
  const tf = await import('@tensorflow/tfjs-core');
  const wasm = await import('@tensorflow/tfjs-backend-wasm');
  if (wanted === 1) return report(1);
  try {
    const module = await threadedModule(wanted);
    tf.removeBackend('wasm');
    // BackendWasm takes the initialised module; the package's types do not say so.
    const Backend = wasm.BackendWasm as unknown as new (
      module: unknown,
    ) => InstanceType<typeof wasm.BackendWasm>;
    tf.registerBackend('wasm', () => new Backend(module), 2);
    return report(wanted);
  } catch (error) {
    return report(1, ` (more threads failed: ${(error as Error).message})`);
  }
}

type EmscriptenModule = {
  cwrap(name: string, result: string | null, args: string[]): (...args: number[]) => number;
  tfjs?: unknown;
  PThread?: { unusedWorkers?: Unrefable[]; runningWorkers?: Unrefable[] };
};
type Unrefable = { unref?(): void };

/**
 * The threaded build, started as Emscripten's Node port would. The stock loader refuses threads in Node, because its
 * worker is a Blob URL; a file works. The pool's size is fixed at start as half the cores it sees, so it is shown twice
 * as many as it shall have threads.
 */
async function threadedModule(threads: number): Promise<EmscriptenModule> {
  const require = createRequire(import.meta.url);
  const out = resolve(dirname(require.resolve('@tensorflow/tfjs-backend-wasm')), '../wasm-out');
  const { wasmWorkerContents } = require(join(out, 'tfjs-backend-wasm-threaded-simd.worker.js')) as {
    wasmWorkerContents: string;
  };
  const factory = require(join(out, 'tfjs-backend-wasm-threaded-simd.js')) as (
    o: object,
  ) => Promise<EmscriptenModule>;
  const folder = mkdtempSync(join(os.tmpdir(), 'tfjs-wasm-worker-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  const worker = join(folder, 'worker.js');
  writeFileSync(worker, wasmWorkerContents.replace(/\n/g, '\\n')); // the string was meant for a template literal
  const module = await withCores(2 * threads, () =>
    factory({
      locateFile: (file: string) => (file.endsWith('.worker.js') ? worker : join(out, file)),
      mainScriptUrlOrBlob: join(out, 'tfjs-backend-wasm-threaded-simd.js'),
    }),
  );
  module.tfjs = {
    init: module.cwrap('init', null, []),
    initWithThreadsCount: module.cwrap('init_with_threads_count', null, ['number']),
    getThreadsCount: module.cwrap('get_threads_count', 'number', []),
    registerTensor: module.cwrap('register_tensor', null, ['number', 'number', 'number']),
    disposeData: module.cwrap('dispose_data', null, ['number']),
    dispose: module.cwrap('dispose', null, []),
  };
  // Idle workers must not keep a finished process alive.
  for (const w of [...(module.PThread?.unusedWorkers ?? []), ...(module.PThread?.runningWorkers ?? [])])
    w.unref?.();
  return module;
}

async function withCores<T>(count: number, f: () => Promise<T>): Promise<T> {
  const real = os.cpus;
  const [core] = real();
  os.cpus = () => new Array(count).fill(core);
  try {
    return await f();
  } finally {
    os.cpus = real;
  }
}
