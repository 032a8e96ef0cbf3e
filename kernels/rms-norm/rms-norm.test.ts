import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { test } from 'vitest';
import { expectNoLeak, onEveryBackend } from '../../test/support/backends.ts';
import { expectClose, gaussian } from '../../test/support/close.ts';
import { onRandomCases, type Spread, spread } from '../../test/support/random-cases.ts';
import { rmsNorm } from './rms-norm.ts';

type Case = Spread & { readonly T: number; readonly D: number };

async function check({ T, D, ...values }: Case): Promise<void> {
  const x = spread(gaussian(T * D, 1), values);
  const w = gaussian(D, 2);
  const expected = new Float64Array(T * D);
  for (let t = 0; t < T; t++) {
    let square = 0;
    for (let d = 0; d < D; d++) square += x[t * D + d] ** 2;
    for (let d = 0; d < D; d++) expected[t * D + d] = (x[t * D + d] / Math.sqrt(square / D + 1e-6)) * w[d];
  }
  const found = await expectNoLeak(async () => {
    const [xt, wt] = [tf.tensor2d(x, [T, D]), tf.tensor1d(w)];
    const y = rmsNorm(xt, wt, 1e-6);
    const values = await y.data();
    tf.dispose([xt, wt, y]);
    return values;
  });
  // Each as a part of itself: beside an outlier, nothing would be seen of the others.
  const ratios = Float64Array.from(found, (v, i) => v / expected[i]);
  const what = `rmsNorm ${JSON.stringify({ T, D, ...values })}, parts of the expected value`;
  expectClose(ratios, new Float64Array(T * D).fill(1), { relativeToMax: 1e-5, what });
}

onEveryBackend(() => {
  test.each<Case>([
    { T: 1, D: 1 },
    { T: 70, D: 1 },
    { T: 3, D: 7 },
    { T: 65, D: 64 },
    { T: 13, D: 101 },
    { T: 3, D: 127 }, // a workgroup takes 128 columns at once
    { T: 3, D: 129 },
    { T: 5, D: 2048 },
    { T: 2, D: 63, size: 1e6 },
    { T: 2, D: 129, size: 1e-6 }, // eps decides
    { T: 5, D: 2048, outliers: true },
    { T: 3, D: 1280, size: 1e6, outliers: true },
  ])('x / √(mean(x²) + eps) · weight: %j', check);

  test('any shape, any size', () =>
    onRandomCases(
      'rmsNorm',
      fc.record({
        T: fc.integer({ min: 1, max: 40 }),
        D: fc.integer({ min: 1, max: 600 }),
        size: fc.constantFrom(1e-3, 1, 1e6),
        outliers: fc.boolean(),
      }),
      check,
    ));
});
