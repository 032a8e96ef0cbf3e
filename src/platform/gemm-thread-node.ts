import { Worker } from 'node:worker_threads';
import type { SpawnThread } from '../../kernels/wasm/thread.ts';

/** A thread for matrix products as a Node worker. */
export const spawnThread: SpawnThread = (source, data) => {
  const start = `
    const { parentPort, workerData } = require('node:worker_threads');
    ${source}
    serve(workerData, () => parentPort.postMessage('ready'));`;
  const worker = new Worker(start, { eval: true, workerData: data });
  return new Promise((resolve, reject) => {
    worker.once('message', () => {
      worker.unref(); // an idle thread must not keep a finished process alive
      resolve();
    });
    worker.once('error', reject);
  });
};
