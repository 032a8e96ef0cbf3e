import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import os from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { compileFunction } from 'node:vm';
import workerThreads, { Worker } from 'node:worker_threads';

type Numbers = (...args: number[]) => number;

/** What this file uses of the object that Emscripten's loader fills in. */
export type WasmModule = {
  cwrap(name: string, result: string | null, args: readonly string[]): Numbers;
  PThread?: { readonly unusedWorkers: Worker[] };
  tfjs?: Readonly<Record<string, Numbers>>;
};

type Loader = (options: object) => Promise<WasmModule>;

/**
 * The wasm build of TF.js, loaded for Node with as many threads as asked for (at most four). The stock loader gives one:
 * it starts its threads from a Blob URL, which Node has not.
 */
export async function loadWasm(threads: number): Promise<WasmModule> {
  const require = createRequire(import.meta.url);
  const out = resolve(dirname(require.resolve('@tensorflow/tfjs-backend-wasm')), '../wasm-out');
  // The plain script serves the SIMD binary as well.
  const [scriptName, binary] = threads > 1 ? ['-threaded-simd', '-threaded-simd'] : ['', '-simd'];
  const script = join(out, `tfjs-backend-wasm${scriptName}.js`);
  const options: Partial<WasmModule> & Record<string, unknown> = {
    locateFile: (file: string) =>
      join(out, file.endsWith('.wasm') ? `tfjs-backend-wasm${binary}.wasm` : file),
    mainScriptUrlOrBlob: script,
  };
  const ready = evaluate(script, require, threads)(options);
  // Emscripten starts eight workers whatever the need, each with a JavaScript heap of its own. The caller is a thread of
  // the pool as well. It fills in the object it was given, so that the rest can be ended before it waits for them.
  for (const worker of options.PThread?.unusedWorkers.splice(threads - 1) ?? []) void worker.terminate();
  const module = await ready;
  module.tfjs = exportedFunctions(module);
  return module;
}

/**
 * Evaluates Emscripten's script with its own view of Node. On the true one it would leave a global Worker and handlers
 * of uncaught exceptions, and it would hold the process for threads that never end.
 */
function evaluate(script: string, require: NodeJS.Require, threads: number): Loader {
  const { wasmWorkerContents } = require(
    join(dirname(script), 'tfjs-backend-wasm-threaded-simd.worker.js'),
  ) as {
    wasmWorkerContents: string;
  };
  const workerCode = wasmWorkerContents.replace(/\n/g, '\\n'); // the text was meant for a template literal

  class Thread extends Worker {
    constructor() {
      super(workerCode, { eval: true });
    }
    override ref(): void {} // an idle thread must not keep a finished process alive
  }
  // The pool has half as many threads as the machine seems to have cores (tfjs-backend-wasm: backend.cc).
  const seen: Readonly<Record<string, object>> = {
    os: { ...os, cpus: () => new Array(2 * threads).fill(os.cpus()[0]) },
    worker_threads: { ...workerThreads, Worker: Thread },
  };
  const quiet = Object.create(process, { on: { value: () => quiet } }) as NodeJS.Process;
  const view = {
    module: { exports: {} },
    exports: {},
    require: (name: string) => seen[name] ?? require(name),
    __filename: script,
    __dirname: dirname(script),
    process: quiet,
    global: {},
    Worker: Thread,
  };
  compileFunction(readFileSync(script, 'utf8'), Object.keys(view), { filename: script })(
    ...Object.values(view),
  );
  return view.module.exports as Loader;
}

/** What the stock loader puts on the module (tfjs-backend-wasm: backend_wasm.ts, init). */
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
