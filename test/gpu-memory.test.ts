import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { BufferPool } from '../kernels/webgpu/buffer-pool.ts';
import { bindGroupsKept, runCounts } from '../kernels/webgpu/run.ts';
import { gpuDevice } from '../src/device-webgpu.ts';
import { JinaEmbeddings } from '../src/platform/node.ts';
import { BACKENDS, startBackend } from './support/backends.ts';
import { GOLDEN } from './support/golden.ts';
import { type BufferCount, countBuffers } from './support/gpu.ts';

const text = (words: number): string => new Array(words).fill('red').join(' ');
const image = `${GOLDEN}images/small.png`;

describe.skipIf(!BACKENDS.includes('webgpu'))('buffers of a GPU', { timeout: 600_000 }, () => {
  let jina: JinaEmbeddings;
  let count: BufferCount;
  const pool = () => (tf.backend() as unknown as { bufferManager: BufferPool }).bufferManager;
  /** Everything that could grow. */
  const held = () => ({
    buffers: count.buffers(),
    bytes: count.bytes(),
    used: pool().getNumUsedBuffers(),
    free: pool().getNumFreeBuffers(),
    allocated: pool().numBytesAllocated,
    tensors: tf.memory().numTensors,
    groups: bindGroupsKept(gpuDevice() as GPUDevice),
  });

  beforeAll(async () => {
    await startBackend('webgpu');
    count = countBuffers(gpuDevice() as GPUDevice);
    jina = await JinaEmbeddings.load(GOLDEN, { device: 'webgpu' });
  });
  afterAll(() => count.end());

  /** As a program in the middle of its work: two calls of one shape leave only what that shape needs. */
  const settled = async (call: () => Promise<unknown>) => {
    await call();
    await call();
    return held();
  };

  test('texts of forty lengths, in forty calls and in one, leave none behind', async () => {
    const one = () => jina.encodeText(text(9));
    const before = await settled(one);
    const lengths = Array.from({ length: 40 }, (_, i) => i + 1);
    for (const words of lengths) await jina.encodeText(text(words));
    expect(await settled(one)).toEqual(before);
    await jina.encodeText(lengths.map(text), { batchSize: 1 });
    expect(await settled(one)).toEqual(before);
    expect(before.bytes).toBeGreaterThan(before.allocated / 2);
  });

  test.each([
    ['a text', () => jina.encodeText(text(12))],
    ['a batch of texts', () => jina.encodeText([text(3), text(17), text(8)])],
    ['a picture', () => jina.encodeImage(image)],
  ] as const)('%s again takes the buffers and bind groups of the first', async (_, call) => {
    const first = await settled(call);
    const [made, { bindGroups }] = [count.made(), runCounts()];
    await call();
    expect(held()).toEqual(first);
    expect(count.made() - made).toBe(0);
    expect(runCounts().bindGroups - bindGroups).toBe(0);
  });

  test('a model that is disposed gives all of it back', async () => {
    const other = await JinaEmbeddings.load(GOLDEN, { device: 'webgpu' });
    const weights = count.bytes();
    await other.encodeText(text(5));
    other.dispose();
    jina.dispose();
    expect(weights).toBeGreaterThan(1e6);
    expect(pool().getNumUsedBuffers()).toBe(0);
    expect(pool().numBytesAllocated).toBe(0);
    expect(count.bytes()).toBeLessThan(10_000); // constants of the last passes
  });
});
