import * as tf from '@tensorflow/tfjs-core';
import { test } from 'vitest';
import { expectNoLeak, onEveryBackend } from '../../test/support/backends.ts';
import { expectClose, gaussian } from '../../test/support/close.ts';
import { swiglu } from './swiglu.ts';

onEveryBackend(() => {
  test.each([
    { T: 1, F: 1, scale: 1 },
    { T: 7, F: 65, scale: 1 },
    { T: 3, F: 11008, scale: 5 },
    { T: 2, F: 31, scale: 200 }, // e^-x overflows float32; the result must not
  ])('gate · sigmoid(gate) · up at [$T, $F], values around $scale', async ({ T, F, scale }) => {
    const gate = gaussian(T * F, 1).map((v) => v * scale);
    const up = gaussian(T * F, 2);
    const expected = Float64Array.from(gate, (g, i) => (g / (1 + Math.exp(-g))) * up[i]);
    const found = await expectNoLeak(async () => {
      const [g, u] = [tf.tensor2d(gate, [T, F]), tf.tensor2d(up, [T, F])];
      const y = swiglu(g, u);
      const values = await y.data();
      tf.dispose([g, u, y]);
      return values;
    });
    expectClose(found, expected, { relativeToMax: 1e-6, what: `swiglu [${T}, ${F}]` });
  });
});
