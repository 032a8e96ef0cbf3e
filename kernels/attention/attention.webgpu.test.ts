import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { gpuIdle } from '../../src/device-webgpu.ts';
import { BACKENDS, startBackend } from '../../test/support/backends.ts';
import { expectTensorClose, gaussianTensor } from '../../test/support/close.ts';
import { checkGpu, shadersOf } from '../../test/support/gpu.ts';
import { useKernels, type Way } from '../product-settings.ts';
import { composed } from '../registry.ts';
import { webgpuBackend } from '../webgpu/backend.ts';
import { offersOf } from '../webgpu/offers.ts';
import { runCounts } from '../webgpu/run.ts';
import { attention } from './attention.ts';
import { cumulate } from './segments.ts';

type Case = {
  readonly lengths: readonly number[];
  readonly N: number;
  readonly K: number;
  readonly H: number;
  readonly causal: boolean;
  readonly scale?: number;
};

// The definition itself is beside it (attention.test.ts, on every backend); here the composed op is the truth.
async function check(one: Case): Promise<void> {
  for (const way of ['plain', 'subgroups'] as const) await checkWay(one, way);
}

async function checkWay({ lengths, N, K, H, causal, scale = 1 }: Case, way: Way): Promise<void> {
  const cuSeqlens = cumulate(lengths);
  const T = cuSeqlens[lengths.length];
  const inputs = {
    q: gaussianTensor([T, N * H], 1, scale),
    k: gaussianTensor([T, K * H], 2, scale),
    v: gaussianTensor([T, K * H], 3),
  };
  const attrs = { heads: N, kvHeads: K, cuSeqlens, causal };
  const before = runCounts().dispatches;
  const settings = useKernels({ prefer: way });
  let found = inputs.q;
  const names = await shadersOf(async () => {
    found = attention(inputs, attrs);
  });
  useKernels(settings);
  expect(runCounts().dispatches - before).toBe(1);
  const there = (offersOf(webgpuBackend().device).subgroups?.least ?? 0) >= 8;
  expect(names).toContain(way === 'subgroups' && there ? 'Attention (subgroups)' : 'Attention');
  const expected = composed(() => attention(inputs, attrs));
  const what = `attention, ${way} ${JSON.stringify({ lengths, N, K, H, causal, scale })}`;
  await expectTensorClose(found, expected, { relativeToMax: 1e-5, what });
  tf.dispose([found, expected, ...Object.values(inputs)]);
}

describe.skipIf(!BACKENDS.includes('webgpu'))('attention on webgpu', { timeout: 300_000 }, () => {
  beforeAll(async () => {
    await startBackend('webgpu');
    const { subgroups } = offersOf(webgpuBackend().device);
    if ((subgroups?.least ?? 0) < 8)
      console.warn(
        'NOT RUN: attention with subgroups: the GPU does not offer subgroups of eight lanes or more',
      );
  });
  afterEach(async () => {
    await gpuIdle();
    await checkGpu();
  });

  test.each<Case>([
    { lengths: [31, 32, 33], N: 2, K: 1, H: 128, causal: true }, // a tile, and one row more or less
    { lengths: [31, 32, 33], N: 2, K: 2, H: 80, causal: false },
    { lengths: [64, 64, 64, 16, 4], N: 4, K: 4, H: 80, causal: false }, // windows of the tower
    { lengths: [1, 1, 127], N: 16, K: 2, H: 128, causal: true },
    { lengths: [65, 1], N: 2, K: 2, H: 128, causal: true, scale: 20 },
    { lengths: [40], N: 3, K: 1, H: 12, causal: true },
    { lengths: [40], N: 2, K: 1, H: 36, causal: false },
  ])('$lengths, $N:$K heads of $H, causal $causal', check);

  test('any segments, any heads', () => {
    const seed = Date.now() % 2 ** 31;
    console.log(`attention on webgpu: random segments with seed ${seed}`);
    return fc.assert(
      fc.asyncProperty(
        fc.record({
          lengths: fc.array(fc.integer({ min: 1, max: 70 }), { minLength: 1, maxLength: 5 }),
          N: fc.constantFrom(2, 4),
          K: fc.constantFrom(1, 2),
          H: fc.constantFrom(16, 80, 128),
          causal: fc.boolean(),
        }),
        check,
      ),
      { numRuns: 15, seed },
    );
  });

  test('memory is linear: nothing but the result is allocated', () => {
    const [T, H] = [700, 16];
    const allocated = () => (tf.memory() as unknown as { numBytesInGPU: number }).numBytesInGPU;
    const inputs = {
      q: gaussianTensor([T, H], 1),
      k: gaussianTensor([T, H], 2),
      v: gaussianTensor([T, H], 3),
    };
    const before = allocated();
    const y = attention(inputs, { heads: 1, kvHeads: 1, cuSeqlens: [0, T], causal: true });
    expect(allocated() - before).toBe(T * H * 4);
    tf.dispose([y, ...Object.values(inputs)]);
  });

  test('a head that no tile holds is composed', async () => {
    const x = gaussianTensor([5, 132], 1);
    const attrs = { heads: 1, kvHeads: 1, cuSeqlens: [0, 5], causal: true };
    const before = runCounts().dispatches;
    const y = attention({ q: x, k: x, v: x }, attrs);
    expect(runCounts().dispatches).toBe(before);
    const expected = composed(() => attention({ q: x, k: x, v: x }, attrs));
    await expectTensorClose(y, expected, { relativeToMax: 1e-6, what: 'composed attention' });
    tf.dispose([x, y, expected]);
  });
});
