import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { expectNoLeak, onEveryBackend } from '../../test/support/backends.ts';
import { expectClose, expectTensorClose, gaussian } from '../../test/support/close.ts';
import type { Span } from '../pool/pool.ts';
import { type LoraActivation, type LoraTerm, linear } from './linear.ts';
import { float32Matrix } from './matrix.ts';

/** x [T, in] · w [in, out], in double precision. */
function product(x: ArrayLike<number>, w: ArrayLike<number>, [T, In, Out]: readonly number[]): Float64Array {
  const y = new Float64Array(T * Out);
  for (let t = 0; t < T; t++) {
    for (let i = 0; i < In; i++)
      for (let o = 0; o < Out; o++) y[t * Out + o] += x[t * In + i] * w[i * Out + o];
  }
  return y;
}

type Case = {
  T: number;
  In: number;
  Out: number;
  R: number;
  activation: LoraActivation;
  bias: boolean;
  /** Of the first term, and of the second. Not given: all. */
  rows?: readonly Span[];
};

async function check({ T, In, Out, R, activation, bias, rows }: Case): Promise<void> {
  const x = gaussian(T * In, 1);
  const w = gaussian(In * Out, 2);
  const b = gaussian(Out, 3);
  const terms = [
    { a: gaussian(In * R, 4), b: gaussian(R * Out, 5), scale: 0.5, activation, rows: rows?.[0] },
    {
      a: gaussian(In * R, 6),
      b: gaussian(R * Out, 7),
      scale: -2,
      activation: 'none' as const,
      rows: rows?.[1],
    },
  ];
  const expected = product(x, w, [T, In, Out]).map((y, i) => y + (bias ? b[i % Out] : 0));
  for (const l of terms) {
    const low = product(x, l.a, [T, In, R]).map((v) => (l.activation === 'relu' ? Math.max(v, 0) : v));
    const { begin, end } = l.rows ?? { begin: 0, end: T };
    product(low, l.b, [T, R, Out]).forEach((v, i) => {
      if (begin * Out <= i && i < end * Out) expected[i] += l.scale * v;
    });
  }
  const found = await expectNoLeak(async () => {
    const inputs = {
      x: tf.tensor2d(x, [T, In]),
      weight: float32Matrix(tf.tensor2d(w, [In, Out])),
      bias: bias ? tf.tensor1d(b) : null,
      lora: terms.map((l) => ({
        ...l,
        a: float32Matrix(tf.tensor2d(l.a, [In, R])),
        b: float32Matrix(tf.tensor2d(l.b, [R, Out])),
      })),
    };
    const y = linear(inputs);
    const values = await y.data();
    inputs.weight.dispose();
    for (const t of [inputs.x, y, inputs.bias, ...inputs.lora.flatMap((l) => [l.a, l.b])]) t?.dispose();
    return values;
  });
  expectClose(found, expected, {
    relativeToMax: 1e-5,
    what: `linear ${JSON.stringify({ T, In, Out, R, rows })}`,
  });
}

onEveryBackend(() => {
  test('agrees with x W + b + Σ scale · act(x A) B for any shape, rank and activation', () =>
    fc.assert(
      fc.asyncProperty(
        fc.record({
          T: fc.integer({ min: 1, max: 17 }),
          In: fc.integer({ min: 1, max: 33 }),
          Out: fc.integer({ min: 1, max: 19 }),
          R: fc.integer({ min: 1, max: 9 }),
          activation: fc.constantFrom('none' as const, 'relu' as const),
          bias: fc.boolean(),
        }),
        check,
      ),
      { numRuns: 15 },
    ));

  test('terms for some rows leave the others as they are', () => {
    const seed = Date.now() % 2 ** 31;
    console.log(`linear, terms for some rows: seed ${seed}`);
    const span = fc
      .tuple(fc.nat({ max: 29 }), fc.nat({ max: 29 }))
      .map(([a, b]) => ({ begin: Math.min(a, b), end: Math.max(a, b) + 1 }));
    return fc.assert(
      fc.asyncProperty(
        fc.record({
          In: fc.integer({ min: 1, max: 33 }),
          Out: fc.integer({ min: 1, max: 90 }),
          R: fc.integer({ min: 1, max: 9 }),
          activation: fc.constantFrom('none' as const, 'relu' as const),
          bias: fc.boolean(),
          rows: fc.tuple(span, span),
        }),
        (one) => check({ ...one, T: 30 }),
      ),
      { numRuns: 15, seed },
    );
  });

  test('a DoRA and a bias of B for some rows are those of these rows alone', async () => {
    const [T, In, Out, R] = [9, 12, 7, 3];
    const rows = { begin: 2, end: 6 };
    const matrix = (r: number, c: number, seed: number) =>
      float32Matrix(tf.tensor2d(gaussian(r * c, seed), [r, c]));
    const [weight, a, b] = [matrix(In, Out, 1), matrix(In, R, 2), matrix(R, Out, 3)];
    const [x, bias, bBias] = [
      tf.tensor2d(gaussian(T * In, 4), [T, In]),
      tf.tensor1d(gaussian(Out, 5)),
      tf.tensor1d(gaussian(Out, 6)),
    ];
    const dora = {
      magnitude: tf.fill([Out], 3) as tf.Tensor1D,
      norm: tf.ones([Out]) as tf.Tensor1D,
      weight: 0.7,
    };
    const term = { a, b, scale: 0.5, activation: 'none' as const, bBias, dora };
    const run = (x: tf.Tensor2D, lora: readonly LoraTerm[]) => linear({ x, weight, bias, lora });
    await expectNoLeak(async () => {
      const found = run(x, [{ ...term, rows }]);
      const expected = tf.tidy(() => {
        const [before, own, after] = tf.split<tf.Tensor2D>(x, [2, 4, 3]);
        return tf.concat([run(before, []), run(own, [term]), run(after, [])], 0) as tf.Tensor2D;
      });
      await expectTensorClose(found, expected, { relativeToMax: 1e-6, what: 'DoRA of four rows' });
      tf.dispose([found, expected]);
    });
    for (const t of [weight, a, b, x, bias, bBias, dora.magnitude, dora.norm]) t.dispose();
  });

  test('a bias of B and DoRA on top of a map, one after the other, as in double precision', async () => {
    const [T, In, Out, R] = [5, 12, 7, 3];
    const [x, w, b, bBias] = [gaussian(T * In, 1), gaussian(In * Out, 2), gaussian(Out, 3), gaussian(Out, 4)];
    const [a, up] = [gaussian(In * R, 5), gaussian(R * Out, 6)];
    const magnitude = gaussian(Out, 7).map((v) => 2 + Math.abs(v));
    const norm = gaussian(Out, 8).map((v) => 1 + Math.abs(v));
    const low = product(product(x, a, [T, In, R]), up, [T, R, Out]);
    // First y + 0.5 · (x A B + bBias), then the change of a DoRA with scale −2, of which 0.7 is added.
    const first = product(x, w, [T, In, Out]).map((v, i) => v + b[i % Out] + 0.5 * (low[i] + bBias[i % Out]));
    const expected = first.map((y, i) => {
      const gain = magnitude[i % Out] / norm[i % Out];
      return y + 0.7 * ((gain - 1) * (y - b[i % Out]) + gain * -2 * low[i]);
    });
    const found = await expectNoLeak(async () => {
      const pair = { a: float32Matrix(tf.tensor2d(a, [In, R])), b: float32Matrix(tf.tensor2d(up, [R, Out])) };
      const [bias, more] = [tf.tensor1d(b), tf.tensor1d(bBias)];
      const dora = { magnitude: tf.tensor1d(magnitude), norm: tf.tensor1d(norm), weight: 0.7 };
      const inputs = { x: tf.tensor2d(x, [T, In]), weight: float32Matrix(tf.tensor2d(w, [In, Out])), bias };
      const y = linear({
        ...inputs,
        lora: [
          { ...pair, scale: 0.5, activation: 'none', bBias: more },
          { ...pair, scale: -2, activation: 'none', dora },
        ],
      });
      const values = await y.data();
      for (const t of [y, inputs.x, inputs.weight, bias, more, dora.magnitude, dora.norm, pair.a, pair.b])
        t.dispose();
      return values;
    });
    expectClose(found, expected, { relativeToMax: 2e-6, what: 'bias of B, DoRA' });
  });

  test('a DoRA whose map was not measured, and vectors of another size, are refused', () => {
    const weight = float32Matrix(tf.zeros([4, 3]));
    const pair = { a: float32Matrix(tf.zeros([4, 2])), b: float32Matrix(tf.zeros([2, 3])) };
    const term = { ...pair, scale: 1, activation: 'none' as const };
    const run = (more: object) =>
      linear({ x: tf.zeros([2, 4]), weight, bias: null, lora: [{ ...term, ...more }] });
    expect(() => run({ dora: { magnitude: tf.ones([3]), norm: null, weight: 1 } })).toThrow(
      'model.placeAdapter',
    );
    expect(() => run({ bBias: tf.ones([4]) })).toThrow(
      'a LoRA vector has 4 values, the matrix has 3 columns',
    );
  });

  test('at sizes of the model', () =>
    check({ T: 37, In: 512, Out: 640, R: 32, activation: 'none', bias: true }));

  test('rows that are not there are refused', () => {
    const weight = float32Matrix(tf.zeros([4, 3]));
    const pair = { a: float32Matrix(tf.zeros([4, 2])), b: float32Matrix(tf.zeros([2, 3])) };
    for (const rows of [
      { begin: 1, end: 3 },
      { begin: 1, end: 1 },
      { begin: -1, end: 1 },
    ]) {
      const lora = [{ ...pair, scale: 1, activation: 'none' as const, rows }];
      expect(() => linear({ x: tf.zeros([2, 4]), weight, bias: null, lora })).toThrow(
        `a LoRA for rows ${rows.begin} to ${rows.end} does not fit 2 rows`,
      );
    }
  });

  test('shapes that do not fit are refused with both', () => {
    const weight = float32Matrix(tf.zeros([4, 3]));
    expect(() => linear({ x: tf.zeros([2, 5]), weight, bias: null, lora: [] })).toThrow(
      'expected [T In] with {"In":4}, got [2, 5]',
    );
    const lora = [
      {
        a: float32Matrix(tf.zeros([4, 2])),
        b: float32Matrix(tf.zeros([2, 9])),
        scale: 1,
        activation: 'none' as const,
      },
    ];
    expect(() => linear({ x: tf.zeros([2, 4]), weight, bias: null, lora })).toThrow(
      'a LoRA of A [4, 2] and B [2, 9] does not fit a matrix [4, 3]',
    );
  });
});
