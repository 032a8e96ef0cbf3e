import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { webgpuBackend } from '../kernels/webgpu/backend.ts';
import { DeviceError } from '../src/errors.ts';
import { JinaEmbeddings } from '../src/platform/node.ts';
import { BACKENDS } from './support/backends.ts';
import { GOLDEN } from './support/golden.ts';

describe.skipIf(!BACKENDS.includes('webgpu'))('errors of the GPU', () => {
  let jina: JinaEmbeddings;
  beforeAll(async () => {
    jina = await JinaEmbeddings.load(GOLDEN, { device: 'webgpu' });
  });
  afterAll(() => jina.dispose());

  test('reject the call they happen in, which leaves nothing behind, and no later one', async () => {
    const expected = await jina.encodeText('hello');
    const tensors = tf.memory().numTensors;
    const { device } = webgpuBackend();
    const failing = jina.encodeText('hello');
    device.createBuffer({ size: 16, usage: 0 });
    await expect(failing).rejects.toThrow(DeviceError);
    expect(tf.memory().numTensors).toBe(tensors);
    expect(await jina.encodeText('hello')).toEqual(expected);
  });

  test('reject the load they happen in', async () => {
    const tensors = tf.memory().numTensors;
    const failing = JinaEmbeddings.load(GOLDEN, { device: 'webgpu' });
    webgpuBackend().device.createBuffer({ size: 16, usage: 0 });
    await expect(failing).rejects.toThrow(/the GPU could not compute this: .*[Uu]sage/);
    expect(tf.memory().numTensors).toBe(tensors);
  });
});
