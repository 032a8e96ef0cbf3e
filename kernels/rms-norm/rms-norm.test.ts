import * as tf from '@tensorflow/tfjs-core';
import { test } from 'vitest';
import { expectNoLeak, onEveryBackend } from '../../test/support/backends.ts';
import { expectClose, gaussian } from '../../test/support/close.ts';
import { rmsNorm } from './rms-norm.ts';

onEveryBackend(() => {
  test.each([
    { T: 1, D: 1, scale: 1 },
    { T: 3, D: 7, scale: 1 },
    { T: 65, D: 64, scale: 1 },
    { T: 5, D: 2048, scale: 1 },
    { T: 2, D: 63, scale: 1e6 },
    { T: 2, D: 129, scale: 1e-6 }, // eps decides
  ])('x / √(mean(x²) + eps) · weight at [$T, $D], values around $scale', async ({ T, D, scale }) => {
    const x = gaussian(T * D, 1).map((v) => v * scale);
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
    expectClose(found, expected, { relativeToMax: 1e-5, what: `rmsNorm [${T}, ${D}]` });
  });
});
