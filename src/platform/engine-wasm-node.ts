import os from 'node:os';
import { startGemmThreads } from '../../kernels/wasm/start-threads.ts';
import type { Engine, EngineOptions, EngineReport } from '../device-engine.ts';
import { loadWasm } from './engine-wasm-threads.ts';
import { spawnThread } from './gemm-thread-node.ts';

const MOST_THREADS = 4; // the pool of the published wasm build never has more

// One a process: replacing the backend would strand the tensors that live on it. The first start decides the threads.
let started: Promise<EngineReport> | null = null;

/** TF.js on WebAssembly in Node, with the threads that stock TF.js has only in the browser. */
export function wasmNodeEngine(): Engine {
  return {
    name: 'wasm',
    probe: async () => started ?? report(threadsFor()),
    start: (options) => {
      started ??= start(options);
      return started;
    },
  };
}

const threadsFor = ({ threads = os.cpus().length }: EngineOptions = {}): number =>
  Math.max(1, Math.min(Math.trunc(threads), MOST_THREADS));

const report = (threads: number, note = ''): EngineReport => ({
  available: true,
  detail: `WebAssembly SIMD, ${threads} thread${threads === 1 ? '' : 's'}${note}`,
  hardware: 'cpu',
  device: os.cpus()[0]?.model,
  threads,
});

async function start(options?: EngineOptions): Promise<EngineReport> {
  const threads = threadsFor(options);
  const tf = await import('@tensorflow/tfjs-core');
  const wasm = await import('@tensorflow/tfjs-backend-wasm');
  if (tf.engine().registry.wasm) return report(wasm.getThreadsCount(), ', as this application started it');
  // BackendWasm takes the initialised module; the package's types do not say so.
  const Backend = wasm.BackendWasm as unknown as new (
    module: unknown,
  ) => InstanceType<typeof wasm.BackendWasm>;
  try {
    const backend = new Backend(await loadWasm(threads));
    tf.removeBackend('wasm');
    tf.registerBackend('wasm', () => backend, 2);
    await startGemmThreads(backend, threads, spawnThread);
    return report(wasm.getThreadsCount());
  } catch (error) {
    // The stock loader is still registered.
    return report(1, ` (the loader for ${threads} failed: ${(error as Error).message})`);
  }
}
