import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { expectNoLeak, onEveryBackend } from '../../test/support/backends.ts';
import { expectClose, gaussian } from '../../test/support/close.ts';
import { onRandomCases, type Spread, spread } from '../../test/support/random-cases.ts';
import { l2Normalize, meanPool, NORM_FLOOR, type Span } from './pool.ts';

type MeanCase = Spread & { readonly T: number; readonly D: number; readonly spans: readonly Span[] };

async function checkMean({ T, D, spans, ...values }: MeanCase): Promise<void> {
  const x = spread(gaussian(T * D, 1), values);
  const means = (f: (v: number) => number) =>
    spans.flatMap(({ begin, end }) =>
      Array.from({ length: D }, (_, d) => {
        let sum = 0;
        for (let t = begin; t < end; t++) sum += f(x[t * D + d]);
        return sum / (end - begin);
      }),
    );
  const [expected, sizes] = [means((v) => v), means(Math.abs)];
  const found = await expectNoLeak(async () => {
    const input = tf.tensor2d(x, [T, D]);
    const y = meanPool(input, spans);
    expect(y.shape).toEqual([spans.length, D]);
    const values = await y.data();
    tf.dispose([input, y]);
    return values;
  });
  // As parts of the mean size of what was added up: beside an outlier, nothing would be seen of the other columns.
  const parts = (ys: ArrayLike<number>) => Float64Array.from(ys, (y, i) => y / sizes[i]);
  const what = `meanPool ${JSON.stringify({ T, D, spans, ...values })}, parts of the mean size`;
  expectClose(parts(found), parts(expected), { relativeToMax: 1e-6, what });
}

type RowCase = Spread & { readonly T: number; readonly D: number };

async function checkRows({ T, D, ...values }: RowCase): Promise<void> {
  const x = spread(gaussian(T * D, 2), values);
  const lengths = Array.from({ length: T }, (_, t) =>
    Math.sqrt(x.subarray(t * D, (t + 1) * D).reduce((sum, v) => sum + v * v, 0)),
  );
  const expected = Float64Array.from(x, (v, i) => v / Math.max(lengths[Math.floor(i / D)], NORM_FLOOR));
  const found = await expectNoLeak(async () => {
    const input = tf.tensor2d(x, [T, D]);
    const y = l2Normalize(input);
    const values = await y.data();
    tf.dispose([input, y]);
    return values;
  });
  // Each as a part of itself, for the same reason.
  const ratios = Float64Array.from(found, (v, i) => v / expected[i]);
  const what = `l2Normalize ${JSON.stringify({ T, D, ...values })}, parts of the expected value`;
  expectClose(ratios, new Float64Array(T * D).fill(1), { relativeToMax: 2e-6, what });
}

const all = (T: number): readonly Span[] => [{ begin: 0, end: T }];

onEveryBackend(() => {
  test.each<MeanCase>([
    { T: 1, D: 1, spans: all(1) },
    { T: 1, D: 2048, spans: all(1) },
    { T: 13, D: 1, spans: all(13) },
    {
      T: 9,
      D: 5,
      spans: [
        { begin: 0, end: 4 },
        { begin: 5, end: 6 },
        { begin: 2, end: 9 },
      ],
    },
    { T: 63, D: 101, spans: all(63) }, // sums of 64 rows are added up
    { T: 64, D: 3, spans: all(64) },
    { T: 65, D: 3, spans: all(65) },
    { T: 64, D: 2048, spans: [{ begin: 1, end: 60 }], outliers: true },
    { T: 33, D: 129, spans: all(33), size: 1e30 },
    { T: 33, D: 64, spans: all(33), size: 1e-30 },
    { T: 130, D: 67, spans: all(130), size: 1e6, outliers: true },
  ])('the mean of each span, ends as given: %j', checkMean);

  test('the means of any spans', () => {
    const span = fc
      .tuple(fc.nat({ max: 99 }), fc.nat({ max: 99 }))
      .map(([a, b]) => ({ begin: Math.min(a, b), end: Math.max(a, b) + 1 }));
    return onRandomCases(
      'meanPool',
      fc.record({
        T: fc.constant(100),
        D: fc.integer({ min: 1, max: 140 }),
        spans: fc.array(span, { minLength: 1, maxLength: 5 }),
        size: fc.constantFrom(1e-6, 1, 1e6, 1e30),
        outliers: fc.boolean(),
      }),
      checkMean,
    );
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

  test.each<RowCase>([
    { T: 67, D: 1 },
    { T: 1, D: 2 },
    { T: 7, D: 101 },
    { T: 3, D: 127 }, // a workgroup takes 128 columns at once
    { T: 3, D: 129 },
    { T: 5, D: 2048 },
    { T: 5, D: 2048, outliers: true },
    { T: 4, D: 128, size: 1e15 },
    { T: 4, D: 128, size: 1e12, outliers: true },
    { T: 4, D: 128, size: 1e-9 },
    { T: 4, D: 16, size: 1e-14 }, // below what a length is divided by at least
  ])('rows have length one: %j', checkRows);

  test('rows of any length', () =>
    onRandomCases(
      'l2Normalize',
      fc.record({
        T: fc.integer({ min: 1, max: 40 }),
        D: fc.integer({ min: 1, max: 600 }),
        size: fc.constantFrom(1e-6, 1, 1e6, 1e12),
        outliers: fc.boolean(),
      }),
      checkRows,
    ));

  test('rows of length one; a zero row stays zero', async () => {
    const input = tf.tensor2d([3, 4, 0, 0, 1e-20, 0], [3, 2]);
    const y = l2Normalize(input);
    const values = await y.data();
    expectClose(values.slice(0, 2), [0.6, 0.8], { relativeToMax: 1e-6, what: 'l2Normalize' });
    expect([...values.slice(2, 4)]).toEqual([0, 0]);
    tf.dispose([input, y]);
  });
});
