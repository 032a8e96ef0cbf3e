import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { expectNoLeak, onEveryBackend } from '../../test/support/backends.ts';
import { expectClose, gaussian } from '../../test/support/close.ts';
import { type AttentionAttrs, type AttentionInputs, attendRuns, attention } from './attention.ts';
import { cumulate, runsOf } from './segments.ts';

/** The definition, one query at a time, in double precision. */
function attentionByHand(
  q: Float32Array,
  k: Float32Array,
  v: Float32Array,
  H: number,
  a: AttentionAttrs,
): Float64Array {
  const [N, K] = [a.heads, a.kvHeads];
  const out = new Float64Array(q.length);
  for (let s = 1; s < a.cuSeqlens.length; s++) {
    const [begin, end] = [a.cuSeqlens[s - 1], a.cuSeqlens[s]];
    for (let i = begin; i < end; i++) {
      for (let n = 0; n < N; n++) {
        const g = Math.floor(n / (N / K));
        const last = a.causal ? i : end - 1;
        const scores: number[] = [];
        for (let j = begin; j <= last; j++) {
          let dot = 0;
          for (let h = 0; h < H; h++) dot += q[(i * N + n) * H + h] * k[(j * K + g) * H + h];
          scores.push(dot / Math.sqrt(H));
        }
        const max = Math.max(...scores);
        const weights = scores.map((x) => Math.exp(x - max));
        const sum = weights.reduce((x, y) => x + y, 0);
        for (let j = begin; j <= last; j++) {
          for (let h = 0; h < H; h++) {
            out[(i * N + n) * H + h] += (weights[j - begin] / sum) * v[(j * K + g) * H + h];
          }
        }
      }
    }
  }
  return out;
}

const T = (lengths: readonly number[]) => lengths.reduce((a, b) => a + b, 0);

async function check(
  lengths: readonly number[],
  N: number,
  K: number,
  H: number,
  causal: boolean,
  scale = 1,
  attend = attention,
) {
  const rows = T(lengths);
  const q = gaussian(rows * N * H, 1).map((x) => x * scale);
  const k = gaussian(rows * K * H, 2).map((x) => x * scale);
  const v = gaussian(rows * K * H, 3);
  const attrs = { heads: N, kvHeads: K, cuSeqlens: cumulate(lengths), causal };
  const found = await expectNoLeak(async () => {
    const inputs = {
      q: tf.tensor2d(q, [rows, N * H]),
      k: tf.tensor2d(k, [rows, K * H]),
      v: tf.tensor2d(v, [rows, K * H]),
    };
    const y = attend(inputs, attrs);
    const values = await y.data();
    tf.dispose([inputs.q, inputs.k, inputs.v, y]);
    return values;
  });
  expectClose(found, attentionByHand(q, k, v, H, attrs), {
    relativeToMax: 1e-5,
    what: `attention ${JSON.stringify({ lengths, N, K, H, causal, scale })}`,
  });
}

onEveryBackend(() => {
  test.each([
    { lengths: [1], N: 1, K: 1, H: 4, causal: true },
    { lengths: [7, 7, 7, 3], N: 4, K: 2, H: 8, causal: true },
    { lengths: [64, 64, 32, 32, 16], N: 2, K: 2, H: 16, causal: false },
    { lengths: [5, 0, 5, 11], N: 6, K: 3, H: 4, causal: false },
    { lengths: [97], N: 16, K: 2, H: 128, causal: true },
    { lengths: [33], N: 16, K: 16, H: 80, causal: false },
  ])(
    'agrees with the definition: $lengths, $N:$K heads of $H, causal $causal',
    ({ lengths, N, K, H, causal }) => check(lengths, N, K, H, causal),
  );

  test('large scores saturate the softmax and do not overflow', () => check([9, 4], 2, 1, 8, true, 30));

  test('random segments', () =>
    fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 0, max: 12 }), { minLength: 1, maxLength: 5 }).filter((l) => T(l) > 0),
        fc.constantFrom([1, 1], [2, 1], [4, 2]),
        fc.boolean(),
        (lengths, [N, K], causal) => check(lengths, N, K, 4, causal),
      ),
      { numRuns: 20 },
    ));

  // 2·2·13 = 52 scores a row: blocks of one row, of a few (the last one ragged), and all rows at once.
  test.each([1, 160, 1e6])('in blocks of %d scores the result is the same', async (scoresAtOnce) => {
    const inBlocks = (inputs: AttentionInputs, attrs: AttentionAttrs) =>
      tf.tidy(() => attendRuns(inputs, attrs, (a, b) => tf.matMul(a, b), scoresAtOnce));
    await check([13, 13, 5], 2, 1, 4, true, 1, inBlocks);
    await check([13, 13, 5], 2, 2, 4, false, 1, inBlocks);
  });

  test('batches of large matrices, which some bodies take apart', () => check([200, 200], 4, 2, 64, true));
});

test('runs: neighbouring equal segments are joined, empty ones left out', () => {
  expect(runsOf([0, 4, 8, 8, 12, 13])).toEqual([
    { begin: 0, length: 4, count: 3 },
    { begin: 12, length: 1, count: 1 },
  ]);
  expect(() => runsOf([0, 4, 2])).toThrow('cuSeqlens must not fall: 4 is followed by 2');
});
