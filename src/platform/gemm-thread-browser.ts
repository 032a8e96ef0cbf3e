import type { SpawnThread } from '../../kernels/wasm/thread.ts';

/** A thread for matrix products as a Web Worker. */
export const spawnThread: SpawnThread = (source, data) => {
  const script = `${source}; onmessage = (event) => serve(event.data, () => postMessage('ready'));`;
  const url = URL.createObjectURL(new Blob([script], { type: 'text/javascript' }));
  const worker = new Worker(url);
  return new Promise<void>((resolve, reject) => {
    worker.onmessage = () => resolve();
    worker.onerror = (event) => reject(new Error(event.message || 'the worker does not start'));
    worker.postMessage(data);
  }).finally(() => URL.revokeObjectURL(url));
};
