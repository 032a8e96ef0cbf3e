import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { test } from 'vitest';
import { expectNoLeak, onEveryBackend } from '../../test/support/backends.ts';
import { expectClose, gaussian } from '../../test/support/close.ts';
import { onRandomCases, type Spread, spread } from '../../test/support/random-cases.ts';
import { rope } from './rope.ts';

type Case = Spread & { readonly T: number; readonly N: number; readonly H: number };

async function check({ T, N, H, ...values }: Case): Promise<void> {
  const x = spread(gaussian(T * N * H, 1), values);
  const angle = gaussian((T * H) / 2, 2);
  const expected = new Float64Array(x.length);
  const length = new Float64Array(x.length); // of the pair that a value belongs to
  const cos = new Float32Array(T * H);
  const sin = new Float32Array(T * H);
  for (let t = 0; t < T; t++) {
    for (let j = 0; j < H / 2; j++) {
      const a = angle[(t * H) / 2 + j];
      cos[t * H + j] = cos[t * H + j + H / 2] = Math.cos(a);
      sin[t * H + j] = sin[t * H + j + H / 2] = Math.sin(a);
      for (let n = 0; n < N; n++) {
        const at = (t * N + n) * H + j;
        expected[at] = x[at] * Math.cos(a) - x[at + H / 2] * Math.sin(a);
        expected[at + H / 2] = x[at + H / 2] * Math.cos(a) + x[at] * Math.sin(a);
        length[at] = length[at + H / 2] = Math.hypot(x[at], x[at + H / 2]);
      }
    }
  }
  const found = await expectNoLeak(async () => {
    const inputs = [tf.tensor2d(x, [T, N * H]), tf.tensor2d(cos, [T, H]), tf.tensor2d(sin, [T, H])] as const;
    const y = rope(...inputs, N);
    const values = await y.data();
    tf.dispose([...inputs, y]);
    return values;
  });
  // As parts of their pair, which a turn leaves as long as it was: beside an outlier, nothing would be seen of the others.
  const ofPair = (ys: ArrayLike<number>) => Float64Array.from(ys, (y, i) => y / length[i]);
  const what = `rope ${JSON.stringify({ T, N, H, ...values })}, parts of a pair`;
  expectClose(ofPair(found), ofPair(expected), { relativeToMax: 1e-6, what });
}

onEveryBackend(() => {
  test.each<Case>([
    { T: 1, N: 1, H: 2 },
    { T: 67, N: 1, H: 2 },
    { T: 11, N: 16, H: 128 },
    { T: 7, N: 2, H: 16 },
    { T: 13, N: 3, H: 80 },
    { T: 5, N: 7, H: 26 },
    { T: 3, N: 2, H: 128, size: 1e30 },
    { T: 9, N: 16, H: 80, outliers: true },
    { T: 9, N: 2, H: 128, size: 1e6, outliers: true },
  ])('turns each pair (j, j + H/2) by its angle: %j', check);

  test('any shape, any size', () =>
    onRandomCases(
      'rope',
      fc.record({
        T: fc.integer({ min: 1, max: 40 }),
        N: fc.integer({ min: 1, max: 9 }),
        H: fc.integer({ min: 1, max: 70 }).map((half) => 2 * half),
        size: fc.constantFrom(1e-20, 1, 1e6, 1e30),
        outliers: fc.boolean(),
      }),
      check,
    ));
});
