import os from 'node:os';
import * as tf from '@tensorflow/tfjs-core';
import { expect, test } from 'vitest';
import { wasmNodeEngine } from './engine-wasm-node.ts';

const EVENTS = ['uncaughtException', 'unhandledRejection', 'exit'] as const;
const traces = () => ({
  cores: os.cpus().length,
  listeners: EVENTS.map((event) => process.listenerCount(event)),
  worker: Reflect.get(globalThis, 'Worker'),
});

test('threads leave nothing on the process, and the first start decides how many there are', async () => {
  const before = traces();
  const engine = wasmNodeEngine();
  const report = await engine.start({ threads: 2 });
  expect(report).toMatchObject({ available: true, detail: 'WebAssembly SIMD, 2 threads', threads: 2 });
  expect(traces()).toEqual(before);

  expect(await wasmNodeEngine().start({ threads: 1 })).toBe(report);
  expect(await engine.probe()).toBe(report);

  await tf.setBackend('wasm');
  const y = tf.matMul(tf.tensor2d([1, 2, 3, 4], [2, 2]), tf.tensor2d([5, 6, 7, 8], [2, 2]));
  expect([...(await y.data())]).toEqual([19, 22, 43, 50]);
  expect(traces()).toEqual(before);
});
