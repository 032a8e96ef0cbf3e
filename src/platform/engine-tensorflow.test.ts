import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';
import { expect, test } from 'vitest';
import { tensorflowEngine } from './engine-tensorflow.ts';

test('looking for TensorFlow leaves the current backend as it is', async () => {
  await tf.setBackend('cpu');
  const report = await tensorflowEngine().probe();
  expect(tf.getBackend()).toBe('cpu');
  if (!report.available) {
    console.warn(`NOT TESTED: a look that finds TensorFlow (${report.detail})`);
    expect(report.detail).toContain('npm run native');
    return;
  }
  expect(report.detail).toMatch(/^@tensorflow\/tfjs-node(-gpu)? \d.* with TensorFlow \d+\.\d+\.\d+ on /);
  expect(tf.findBackend('tensorflow')).not.toBeNull();
  expect([...(await tf.add([1, 2], 1).data())]).toEqual([2, 3]);
});
