import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { test } from 'vitest';
import { expectNoLeak, onEveryBackend } from '../../test/support/backends.ts';
import { expectClose, gaussian } from '../../test/support/close.ts';
import { onRandomCases, type Spread, spread } from '../../test/support/random-cases.ts';
import { swiglu } from './swiglu.ts';

/** `size` and `outliers` are those of the gate; `upSize` of what it lets through. */
type Case = Spread & { readonly T: number; readonly F: number; readonly upSize?: number };

async function check({ T, F, upSize = 1, ...values }: Case): Promise<void> {
  const gate = spread(gaussian(T * F, 1), values);
  const up = spread(gaussian(T * F, 2), { size: upSize });
  const open = Float64Array.from(gate, (g) => 1 / (1 + Math.exp(-g)));
  const found = await expectNoLeak(async () => {
    const [g, u] = [tf.tensor2d(gate, [T, F]), tf.tensor2d(up, [T, F])];
    const y = swiglu(g, u);
    const values = await y.data();
    tf.dispose([g, u, y]);
    return values;
  });
  // How far each gate is open: beside an outlier, nothing would be seen of the others.
  const opened = Float64Array.from(found, (y, i) => y / (gate[i] * up[i]));
  const what = `swiglu ${JSON.stringify({ T, F, upSize, ...values })}, as parts of gate · up`;
  expectClose(opened, open, { relativeToMax: 1e-6, what });
}

onEveryBackend(() => {
  test.each<Case>([
    { T: 1, F: 1 },
    { T: 67, F: 1 },
    { T: 7, F: 65 },
    { T: 13, F: 101 },
    { T: 3, F: 11008, size: 5 },
    { T: 2, F: 31, size: 200 }, // e^-x overflows float32; the result must not
    { T: 3, F: 257, size: 1e6, upSize: 1e20 },
    { T: 2, F: 11008, outliers: true },
  ])('gate · sigmoid(gate) · up: %j', check);

  test('any shape, any size', () =>
    onRandomCases(
      'swiglu',
      fc.record({
        T: fc.integer({ min: 1, max: 40 }),
        F: fc.integer({ min: 1, max: 300 }),
        size: fc.constantFrom(1e-3, 1, 50, 1e6),
        upSize: fc.constantFrom(1e-3, 1, 1e20),
        outliers: fc.boolean(),
      }),
      check,
    ));
});
