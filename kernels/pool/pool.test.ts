import * as tf from '@tensorflow/tfjs-core';
import { expect, test } from 'vitest';
import { expectNoLeak, onEveryBackend } from '../../test/support/backends.ts';
import { expectClose, gaussian } from '../../test/support/close.ts';
import { l2Normalize, meanPool } from './pool.ts';

onEveryBackend(() => {
  test('the mean of each span, ends as given', async () => {
    const x = gaussian(9 * 5, 1);
    const spans = [
      { begin: 0, end: 4 },
      { begin: 5, end: 6 },
      { begin: 2, end: 9 },
    ];
    const expected = spans.flatMap(({ begin, end }) =>
      Array.from({ length: 5 }, (_, d) => {
        let sum = 0;
        for (let t = begin; t < end; t++) sum += x[t * 5 + d];
        return sum / (end - begin);
      }),
    );
    const found = await expectNoLeak(async () => {
      const input = tf.tensor2d(x, [9, 5]);
      const y = meanPool(input, spans);
      const values = await y.data();
      tf.dispose([input, y]);
      return values;
    });
    expectClose(found, expected, { relativeToMax: 1e-6, what: 'meanPool' });
  });

  test('long spans lose little to rounding', async () => {
    const [T, D] = [5000, 3];
    const x = gaussian(T * D, 1).map((v) => v + 100);
    const expected = Array.from({ length: D }, (_, d) => {
      let sum = 0;
      for (let t = 1; t < T; t++) sum += x[t * D + d];
      return sum / (T - 1);
    });
    const input = tf.tensor2d(x, [T, D]);
    const y = meanPool(input, [{ begin: 1, end: T }]);
    expectClose(await y.data(), expected, { relativeToMax: 5e-6, what: 'meanPool of 4999 rows' });
    tf.dispose([input, y]);
  });

  test('rows as long as the model makes them have length one', async () => {
    const [T, D] = [5, 2048];
    const x = gaussian(T * D, 2);
    const expected = x.map((v, i) => {
      const row = x.subarray(Math.floor(i / D) * D, (Math.floor(i / D) + 1) * D);
      return v / Math.sqrt(row.reduce((sum, r) => sum + r * r, 0));
    });
    const input = tf.tensor2d(x, [T, D]);
    const y = l2Normalize(input);
    expectClose(await y.data(), expected, { relativeToMax: 1e-6, what: 'l2Normalize' });
    tf.dispose([input, y]);
  });

  test('rows of length one; a zero row stays zero', async () => {
    const input = tf.tensor2d([3, 4, 0, 0, 1e-20, 0], [3, 2]);
    const y = l2Normalize(input);
    const values = await y.data();
    expectClose(values.slice(0, 2), [0.6, 0.8], { relativeToMax: 1e-6, what: 'l2Normalize' });
    expect([...values.slice(2, 4)]).toEqual([0, 0]);
    tf.dispose([input, y]);
  });
});
