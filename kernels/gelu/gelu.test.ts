import * as tf from '@tensorflow/tfjs-core';
import { test } from 'vitest';
import { expectNoLeak, onEveryBackend } from '../../test/support/backends.ts';
import { expectClose } from '../../test/support/close.ts';
import { gelu } from './gelu.ts';

/** Φ(x) by Simpson's rule from 0, in double precision. */
function normalCdf(x: number): number {
  const n = 2000;
  const h = x / n;
  const density = (t: number) => Math.exp((-t * t) / 2) / Math.sqrt(2 * Math.PI);
  let sum = density(0) + density(x);
  for (let i = 1; i < n; i++) sum += density(i * h) * (i % 2 === 1 ? 4 : 2);
  return 0.5 + (sum * h) / 3;
}

onEveryBackend(() => {
  test('x · Φ(x), the exact form and not the tanh approximation', async () => {
    const x = Float32Array.from({ length: 161 }, (_, i) => (i - 80) / 10);
    const found = await expectNoLeak(async () => {
      const input = tf.tensor2d(x, [7, 23]);
      const y = gelu(input);
      const values = await y.data();
      tf.dispose([input, y]);
      return values;
    });
    // The tanh form differs by 4.7e-4 at most, so this tolerance tells them apart: 1e-6 of the largest value, 8.
    expectClose(
      found,
      Float64Array.from(x, (v) => v * normalCdf(v)),
      { relativeToMax: 1e-6, what: 'gelu' },
    );
  });
});
