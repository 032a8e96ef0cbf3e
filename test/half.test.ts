import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { webgpuBackend } from '../kernels/webgpu/backend.ts';
import { JinaEmbeddings } from '../src/platform/node.ts';
import { BACKENDS, startBackend } from './support/backends.ts';
import { expectClose } from './support/close.ts';
import { GOLDEN } from './support/golden.ts';
import { shadersOf } from './support/gpu.ts';

// compute: 'float16' on a GPU that has shader-f16. Whoever did not ask for it stays exact, in the same process too.

const ALLOWED = 2e-3; // of the largest value of a vector
const texts = [
  'a red car',
  'Ein rotes Auto steht vor dem Haus, und niemand weiß, wem es gehört.',
  '红色的汽车',
];
const image = `${GOLDEN}images/odd.png`;
const isHalf = (name: string) => name === 'Linear (half)' || name === 'Linear (matrix)';

describe.skipIf(!BACKENDS.includes('webgpu'))('half precision', { timeout: 300_000 }, () => {
  let exact: JinaEmbeddings;
  let half: JinaEmbeddings;
  let offered = false;
  beforeAll(async () => {
    await startBackend('webgpu');
    offered = webgpuBackend().device.features.has('shader-f16');
    exact = await JinaEmbeddings.load(null, { device: 'webgpu', compute: 'float32' });
    half = await JinaEmbeddings.load(null, { device: 'webgpu', compute: 'float16' });
  }, 300_000);
  afterAll(() => {
    exact.dispose();
    half.dispose();
  });

  test('is granted where the GPU has it, and refused with the reason where not', () => {
    expect(exact.device.precision).toBe('float32');
    expect(half.device.precision).toBe(offered ? 'float16' : 'float32');
    expect(half.device.reason.includes('float16 arithmetic is not available')).toBe(!offered);
    if (!offered) console.warn('NOT RUN: half precision: the GPU does not offer shader-f16');
  });

  test('texts and an image are close to float32, by shaders of float16', async () => {
    if (!offered) return;
    const expected = [...(await exact.encodeText(texts)), await exact.encodeImage(image)];
    const found: Float32Array[] = [];
    const names = await shadersOf(async () => {
      found.push(...(await half.encodeText(texts)), await half.encodeImage(image));
    });
    expect(names.filter(isHalf)).not.toEqual([]);
    found.forEach((vector, i) => {
      const error = expectClose(vector, expected[i], { relativeToMax: ALLOWED, what: `input ${i}` });
      expect(error).toBeGreaterThan(0); // it did compute otherwise
    });
  });

  test('a model in float32 beside one in float16 keeps its bits, also while both compute', async () => {
    const before = await exact.encodeText(texts);
    const names = await shadersOf(async () => {
      expect(await exact.encodeText(texts)).toEqual(before);
    });
    expect(names.filter(isHalf)).toEqual([]);
    const [found] = await Promise.all([exact.encodeText(texts), half.encodeText(texts)]);
    expect(found).toEqual(before);
  });

  test('a way can be preferred by a setting; one that rounds to float16 only beside compute: float16', async () => {
    const kernelVariant = 'half';
    using named = await JinaEmbeddings.load(null, { device: 'webgpu', compute: 'float16', kernelVariant });
    using exactly = await JinaEmbeddings.load(null, { device: 'webgpu', kernelVariant });
    const of = (jina: JinaEmbeddings) => shadersOf(() => jina.encodeText(texts));
    expect((await of(named)).filter(isHalf)).toEqual(offered ? ['Linear (half)'] : []);
    expect((await of(exactly)).filter(isHalf)).toEqual([]);
  });
});
