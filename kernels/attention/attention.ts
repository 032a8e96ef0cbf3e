import * as tf from '@tensorflow/tfjs-core';
import { InputError } from '../../src/errors.ts';
import { dims } from '../dims.ts';
import { defineKernel, tapeIsOn } from '../registry.ts';
import { attentionBackward } from './attention-gradient.ts';
import { causalMask, headsFirst, headsLast } from './heads.ts';
import { blockRows, SCORES_AT_ONCE } from './score-blocks.ts';
import { type CuSeqlens, type Run, runsOf } from './segments.ts';

export type AttentionInputs = { readonly q: tf.Tensor2D; readonly k: tf.Tensor2D; readonly v: tf.Tensor2D };
export type AttentionAttrs = {
  readonly heads: number;
  readonly kvHeads: number;
  readonly cuSeqlens: CuSeqlens;
  readonly causal: boolean;
};

/**
 * softmax(q kᵀ / √H) v inside each segment, in stock ops (Vaswani et al. 2017; grouped queries: Ainslie et al. 2023).
 * Neighbouring segments of equal length share one batched matmul; the query heads that share a key head are folded into
 * its rows, so that keys and values are never repeated.
 */
export const composedAttention = (inputs: AttentionInputs, attrs: AttentionAttrs): tf.Tensor2D =>
  attendRuns(inputs, attrs, (a, b) => tf.matMul(a, b));

/** a: [B, m, k], b: [B, k, n] → [B, m, n].   A backend whose stock op is slow has one of its own. */
export type BatchedMatMul = (a: tf.Tensor3D, b: tf.Tensor3D) => tf.Tensor3D;

/** The truth with the batched matmul left open, and the number of scores that are in memory at once. */
export function attendRuns(
  { q, k, v }: AttentionInputs,
  attrs: AttentionAttrs,
  multiply: BatchedMatMul,
  scoresAtOnce = SCORES_AT_ONCE,
): tf.Tensor2D {
  const parts = runsOf(attrs.cuSeqlens).map((run) =>
    tf.tidy(() => attendRun(take(q, run), take(k, run), take(v, run), run, attrs, multiply, scoresAtOnce)),
  );
  return parts.length === 1 ? parts[0] : tf.concat(parts, 0); // [T, N·H]
}

const take = (x: tf.Tensor2D, { begin, length, count }: Run): tf.Tensor2D =>
  begin === 0 && count * length === x.shape[0] ? x : tf.slice(x, [begin, 0], [count * length, x.shape[1]]);

function attendRun(
  q: tf.Tensor2D,
  k: tf.Tensor2D,
  v: tf.Tensor2D,
  run: Run,
  attrs: AttentionAttrs,
  multiply: BatchedMatMul,
  scoresAtOnce: number,
): tf.Tensor2D {
  const { heads: N, kvHeads: K, causal } = attrs;
  const { length: L, count: S } = run;
  const G = N / K; // query heads that share one key/value head
  const H = q.shape[1] / N;
  const queries = tf.mul(headsFirst(q, S, L, N, H), 1 / Math.sqrt(H)); // [S, N, L, H]
  const keys: tf.Tensor3D = tf.reshape(tf.transpose(tf.reshape(k, [S, L, K, H]), [0, 2, 3, 1]), [
    S * K,
    H,
    L,
  ]);
  const values: tf.Tensor3D = tf.reshape(headsFirst(v, S, L, K, H), [S * K, L, H]);

  const rows = blockRows(L, S * N, scoresAtOnce);
  const blocks: tf.Tensor4D[] = [];
  for (let begin = 0; begin < L; begin += rows) {
    blocks.push(
      tf.tidy(() => {
        const end = Math.min(begin + rows, L);
        const seen = causal ? end : L; // a causal block sees no key after its last row
        const block = end - begin;
        const some = block === L ? queries : tf.slice(queries, [0, 0, begin, 0], [S, N, block, H]);
        const nearKeys = seen === L ? keys : tf.slice(keys, [0, 0, 0], [S * K, H, seen]);
        const nearValues = seen === L ? values : tf.slice(values, [0, 0, 0], [S * K, seen, H]);
        const folded: tf.Tensor3D = tf.reshape(some, [S * K, G * block, H]);
        let scores = multiply(folded, nearKeys); //                                        [S·K, G·block, seen]
        if (causal && block > 1) {
          const byRow = tf.reshape(scores, [S * N, block, seen]);
          scores = tf.reshape(tf.add(byRow, causalMask(begin, block, seen)), scores.shape);
        }
        const mixed = multiply(tf.softmax(scores), nearValues); //                       [S·K, G·block, H]
        return tf.reshape(mixed, [S, N, block, H]);
      }),
    );
  }
  const all = blocks.length === 1 ? blocks[0] : tf.concat(blocks, 2); //                  [S, N, L, H]
  return headsLast(all, S, L, N, H);
}

/** Queries, keys and values side by side.   [T, (N + 2K)·H] */
export type JoinedInputs = { readonly qkv: tf.Tensor2D };

export function composedJoinedAttention({ qkv }: JoinedInputs, attrs: AttentionAttrs): tf.Tensor2D {
  const { heads: N, kvHeads: K } = attrs;
  const H = qkv.shape[1] / (N + 2 * K);
  const [q, k, v] = tf.split<tf.Tensor2D>(qkv, [N * H, K * H, K * H], 1);
  return composedAttention({ q, k, v }, attrs);
}

const runJoined = defineKernel<JoinedInputs, AttentionAttrs>('JoinedAttention', composedJoinedAttention);

const run = defineKernel<AttentionInputs, AttentionAttrs>('Attention', composedAttention);

/** The same as one node on the tape. */
const runOnTape = defineKernel<AttentionInputs & { readonly qkv: tf.Tensor2D }, AttentionAttrs>(
  'Attention',
  composedAttention,
  attentionBackward,
);

/**
 * Attention inside segments of a packed stream, causal or not, with grouped queries.
 * q: [T, N·H], k, v: [T, K·H], cuSeqlens: [S+1] ends → [T, N·H].   Query head n reads key head ⌊n / (N/K)⌋.
 */
export function attention(inputs: AttentionInputs, attrs: AttentionAttrs): tf.Tensor2D {
  const { heads, kvHeads } = attrs;
  const { T, NH } = dims(inputs.q, 'T NH');
  const KH = (NH / heads) * kvHeads;
  dims(inputs.k, 'T KH', { T, KH });
  dims(inputs.v, 'T KH', { T, KH });
  checkAttrs(attrs, T);
  if (!tapeIsOn()) return run(inputs, attrs) as tf.Tensor2D;
  const qkv = tf.concat([inputs.q, inputs.k, inputs.v], 1);
  return runOnTape({ ...inputs, qkv }, attrs) as tf.Tensor2D;
}

/**
 * The same on one tensor.   qkv: [T, (N + 2K)·H], cuSeqlens: [S+1] ends → [T, N·H]
 * @throws InputError for heads or segments that do not fit it
 */
export function joinedAttention(qkv: tf.Tensor2D, attrs: AttentionAttrs): tf.Tensor2D {
  const { T, W } = dims(qkv, 'T W');
  const all = attrs.heads + 2 * attrs.kvHeads;
  if (W % all !== 0)
    throw new InputError(`${all} heads of queries, keys and values cannot share ${W} columns`);
  checkAttrs(attrs, T);
  return runJoined({ qkv }, attrs) as tf.Tensor2D;
}

function checkAttrs({ heads, kvHeads, cuSeqlens }: AttentionAttrs, T: number): void {
  if (heads % kvHeads !== 0)
    throw new InputError(`${heads} query heads cannot share ${kvHeads} key heads evenly`);
  if (cuSeqlens[0] !== 0 || cuSeqlens[cuSeqlens.length - 1] !== T) {
    throw new InputError(`cuSeqlens must run from 0 to the ${T} rows, got [${cuSeqlens.join(', ')}]`);
  }
}
