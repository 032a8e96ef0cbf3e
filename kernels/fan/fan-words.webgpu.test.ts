import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { expectNoLeak } from '../../test/support/backends.ts';
import { onBothGpus } from '../../test/support/both-gpus.ts';
import { expectTensorClose, gaussian, gaussianTensor } from '../../test/support/close.ts';
import { rawMatrix, valuesOf, WORDS } from '../../test/support/matrices.ts';
import { composed, float32Matrix, linear, type Matrix, matrixStore, rmsNorm, rope } from '../index.ts';
import type { RawMatrix } from '../linear/matrix-store.ts';
import type { Words } from '../linear/weight-layouts.ts';
import { type AffineMap, fansOut, gated, heads, normLow, widthOf } from './fan.ts';

// Maps of one input whose weights are in any words that a checkpoint may have, and their low-rank terms in others.

type Two = tf.Tensor2D;
type Case = {
  readonly T: number;
  readonly D: number;
  /** Of a head. */
  readonly H: number;
  /** Heads of each map; the last map's are not turned. */
  readonly counts: readonly number[];
  /** Columns of gate and up. */
  readonly F: number;
  /** Of the terms; none: 0. */
  readonly rank: number;
  /** Of the maps, which take turns. */
  readonly words: readonly Words[];
  readonly lora: Words;
  readonly bias?: boolean;
  readonly outliers?: boolean;
};

const EPS = 1e-6;

/** As this backend keeps it. */
const asStored = (raw: RawMatrix): Matrix => matrixStore().packed(raw);

/** The numbers that the bytes stand for, unpacked in JavaScript. */
const asNumbers = (raw: RawMatrix): Matrix =>
  float32Matrix(tf.tidy(() => tf.transpose(tf.tensor2d(valuesOf(raw), [raw.outSize, raw.inSize])) as Two));

function mapOf(out: number, seed: number, make: (raw: RawMatrix) => Matrix, one: Case): AffineMap {
  const { D, rank, lora, bias, outliers } = one;
  const words = one.words[(seed / 10) % one.words.length];
  const matrix = (what: Words, outSize: number, inSize: number, seed: number) => {
    const values = gaussian(outSize * inSize, seed).map(
      (v, i) => (v / Math.sqrt(inSize)) * (outliers && i % 37 === 5 ? 300 : 1),
    );
    return make(rawMatrix(values, what, outSize, inSize));
  };
  const term = () => ({
    a: matrix(lora, rank, D, seed + 2),
    b: matrix(lora, out, rank, seed + 3),
    scale: 0.5,
    activation: seed % 20 === 0 ? ('relu' as const) : ('none' as const),
  });
  return {
    weight: matrix(words, out, D, seed),
    bias: bias ? tf.tensor1d(gaussian(out, seed + 1)) : null,
    lora: rank > 0 ? [term()] : [],
  };
}

function disposeMaps(maps: readonly AffineMap[]): void {
  for (const { weight, bias, lora } of maps) {
    for (const m of [weight, ...lora.flatMap(({ a, b }) => [a, b])]) m.dispose();
    bias?.dispose();
  }
}

/** Every output against norm, linear, rope and SwiGLU in stock ops, on the numbers themselves. */
async function check(one: Case): Promise<void> {
  const { T, D, H, counts, F } = one;
  const turned = counts.slice(0, -1).reduce((a, b) => a + b, 0);
  const mapsOf = (make: (raw: RawMatrix) => Matrix) => ({
    maps: counts.map((n, i) => mapOf(n * H, 10 * (i + 1), make, one)),
    pair: [50, 60].map((seed) => mapOf(F, seed, make, one)),
  });
  await expectNoLeak(async () => {
    const [x, weight] = [gaussianTensor([T, D], 1, 3), tf.tensor1d(gaussian(D, 2))];
    const [cos, sin] = [gaussianTensor([T, H], 3), gaussianTensor([T, H], 4)];
    const own = mapsOf(asStored);
    expect(fansOut({ maps: own.maps, rows: T, outputs: widthOf(own.maps) })).toBe(true);
    expect(fansOut({ maps: own.pair, rows: T, outputs: F })).toBe(true);
    const found = tf.tidy(() => {
      const rows = normLow({ x, weight, maps: own.maps }, { eps: EPS });
      const [gate, up] = own.pair;
      const others = normLow({ x, weight, maps: own.pair }, { eps: EPS });
      return [
        heads({ rows, maps: own.maps, cos, sin }, { turned }),
        gated({ rows: others, gate, up }),
      ] as const;
    });
    const truth = mapsOf(asNumbers);
    const expected = tf.tidy(() =>
      composed(() => {
        const normed = rmsNorm(x, weight, EPS);
        const made: Two = tf.concat(
          truth.maps.map((map) => linear({ ...map, x: normed })),
          1,
        );
        const turning: Two = tf.slice(made, [0, 0], [T, turned * H]);
        const still: Two = tf.slice(made, [0, turned * H], [T, made.shape[1] - turned * H]);
        const [gate, up] = truth.pair;
        return [
          turned === 0 ? made : (tf.concat([rope(turning, cos, sin, turned), still], 1) as Two),
          linear({ ...up, x: normed, gate: linear({ ...gate, x: normed }) }),
        ] as const;
      }),
    );
    for (const [i, what] of ['heads', 'gated'].entries())
      await expectTensorClose(found[i], expected[i], {
        relativeToMax: 1e-5,
        what: `${what} of ${JSON.stringify(one)}`,
      });
    for (const maps of [own.maps, own.pair, truth.maps, truth.pair]) disposeMaps(maps);
    tf.dispose([x, weight, cos, sin, ...found, ...expected]);
  });
}

onBothGpus('maps in any words', () => {
  const kinds: readonly (readonly Words[])[] = [['float16'], ['int8'], ['int4'], ['int8', 'int4']]; // the last as `quantize` mixes them
  const cases = kinds.flatMap((words) => [
    { words, T: 1, D: 4, H: 2, counts: [1], F: 1, rank: 1, lora: 'bfloat16' as const },
    { words, T: 1, D: 100, H: 10, counts: [3, 1, 1], F: 13, rank: 8, lora: 'float16' as const, bias: true },
    { words, T: 8, D: 36, H: 6, counts: [5, 1, 1], F: 31, rank: 0, lora: 'float32' as const, bias: true }, // the last of the few
    { words, T: 9, D: 68, H: 22, counts: [1, 1, 1], F: 33, rank: 3, lora: 'float32' as const }, // and one more
    { words, T: 31, D: 64, H: 16, counts: [7], F: 65, rank: 5, lora: 'float16' as const, outliers: true },
    {
      words,
      T: 33,
      D: 292,
      H: 2,
      counts: [31, 17, 17],
      F: 131,
      rank: 16,
      lora: 'bfloat16' as const,
      bias: true,
    },
    {
      words,
      T: 65,
      D: 28,
      H: 64,
      counts: [23, 5, 5],
      F: 1031,
      rank: 7,
      lora: 'float16' as const,
      outliers: true,
    }, // large tiles
  ]);
  test.each<Case>(cases)('$words beside $lora terms: [$T, $D] → $counts heads of $H, and $F', check);

  test('any shape, any words', () => {
    const seed = Date.now() % 2 ** 31;
    console.log(`maps of one input on webgpu: random shapes with seed ${seed}`);
    return fc.assert(
      fc.asyncProperty(
        fc.record({
          T: fc.integer({ min: 1, max: 80 }),
          D: fc.integer({ min: 1, max: 35 }).map((fours) => 4 * fours),
          H: fc.integer({ min: 1, max: 12 }).map((half) => 2 * half),
          counts: fc.array(fc.integer({ min: 1, max: 6 }), { minLength: 1, maxLength: 3 }),
          F: fc.integer({ min: 1, max: 140 }),
          rank: fc.integer({ min: 0, max: 17 }),
          words: fc.array(fc.constantFrom(...WORDS), { minLength: 1, maxLength: 3 }),
          lora: fc.constantFrom<Words>('float32', 'bfloat16', 'float16'),
          bias: fc.boolean(),
          outliers: fc.boolean(),
        }),
        check,
      ),
      { numRuns: 20, seed },
    );
  });
});
