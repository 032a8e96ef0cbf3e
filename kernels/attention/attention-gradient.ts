import * as tf from '@tensorflow/tfjs-core';
import { product } from '../product/product.ts';
import type { Backward } from '../registry.ts';
import type { AttentionAttrs, AttentionInputs } from './attention.ts';
import { causalMask, headsFirst, headsLast } from './heads.ts';
import { type Run, runsOf } from './segments.ts';

// P = softmax(q kᵀ / √H)    dv = Pᵀ do    dP = do vᵀ    dS = P ⊙ (dP − Σ dP ⊙ P)    dq = dS k / √H    dk = dSᵀ q / √H
// Scores are computed again on the way back instead of being kept (Dao et al. 2022, without the tiles).

/** [q k v] of a stream [T, (N + 2K)·H] as one tensor: its gradient is one, too, and its parts share their work. */
export const attentionBackward: Backward<AttentionInputs & { readonly qkv: tf.Tensor2D }, AttentionAttrs> = {
  tensors: ({ qkv }) => [qkv],
  back: (dy, [qkv], _, attrs) => [
    () =>
      tf.tidy(() => {
        const runs = runsOf(attrs.cuSeqlens);
        const rows = runs.map((r) => r.count * r.length);
        const inputs = tf.split<tf.Tensor2D>(qkv as tf.Tensor2D, rows, 0);
        const outputs = tf.split<tf.Tensor2D>(dy as tf.Tensor2D, rows, 0);
        return tf.concat(
          runs.map((run, i) => tf.tidy(() => runGradient(inputs[i], outputs[i], run, attrs))),
          0,
        );
      }),
  ],
};

function runGradient(
  qkv: tf.Tensor2D,
  dy: tf.Tensor2D,
  { length: L, count: S }: Run,
  { heads: N, kvHeads: K, causal }: AttentionAttrs,
): tf.Tensor2D {
  const H = qkv.shape[1] / (N + 2 * K);
  const scale = 1 / Math.sqrt(H);
  const [q2, k2, v2] = tf.split<tf.Tensor2D>(qkv, [N * H, K * H, K * H], 1);
  // Query heads of one key head are folded into its rows, as on the way there.
  const folded = (x: tf.Tensor2D): tf.Tensor3D =>
    tf.reshape(headsFirst(x, S, L, N, H), [S * K, (N / K) * L, H]);
  const shared = (x: tf.Tensor2D): tf.Tensor3D => tf.reshape(headsFirst(x, S, L, K, H), [S * K, L, H]);
  const [q, k, v, out] = [tf.mul(folded(q2), scale) as tf.Tensor3D, shared(k2), shared(v2), folded(dy)];

  let scores = product(q, k, { turnB: true }); //                                          [S·K, G·L, L]
  if (causal && L > 1) {
    scores = tf.reshape(tf.add(tf.reshape(scores, [S * N, L, L]), causalMask(0, L, L)), scores.shape);
  }
  const P = tf.softmax(scores);
  const dv = product(P, out, { turnA: true }); //                                          [S·K, L, H]
  const weighed = tf.mul(P, product(out, v, { turnB: true })); //                          P ⊙ dP
  const dS: tf.Tensor3D = tf.sub(weighed, tf.mul(P, tf.sum(weighed, 2, true)));
  const dq = tf.mul(product(dS, k), scale); //                                             [S·K, G·L, H]
  const dk = product(dS, q, { turnA: true }); //                                           q is scaled already
  return tf.concat([headsLast(dq, S, L, N, H), headsLast(dk, S, L, K, H), headsLast(dv, S, L, K, H)], 1);
}
