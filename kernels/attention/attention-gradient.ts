import * as tf from '@tensorflow/tfjs-core';
import { product } from '../product/product.ts';
import type { Backward } from '../registry.ts';
import type { AttentionAttrs, AttentionInputs } from './attention.ts';
import { causalMask, headsFirst, headsLast } from './heads.ts';
import { blockRows, SCORES_AT_ONCE } from './score-blocks.ts';
import { type Run, runsOf } from './segments.ts';

// P = softmax(q kᵀ / √H)    dv = Pᵀ do    dP = do vᵀ    dS = P ⊙ (dP − Σ dP ⊙ P)    dq = dS k / √H    dk = dSᵀ q / √H
// Scores are computed again on the way back instead of being kept, for a block of query rows at a time as on the way there
// (Dao et al. 2022, without the tiles): memory is linear in the length.

type Inputs = AttentionInputs & { readonly qkv: tf.Tensor2D };

/** [q k v] of a stream [T, (N + 2K)·H] as one tensor: its gradient is one, too, and its parts share their work. */
export const attentionBackward: Backward<Inputs, AttentionAttrs> = {
  tensors: ({ qkv }) => [qkv],
  back: (dy, [qkv], _, attrs) => [() => attentionGradient(qkv as tf.Tensor2D, dy as tf.Tensor2D, attrs)],
};

/** qkv: [T, (N + 2K)·H], dy: [T, N·H] → the gradient of qkv. `scoresAtOnce`: how many scores a block may have. */
export function attentionGradient(
  qkv: tf.Tensor2D,
  dy: tf.Tensor2D,
  attrs: AttentionAttrs,
  scoresAtOnce = SCORES_AT_ONCE,
): tf.Tensor2D {
  return tf.tidy(() => {
    const runs = runsOf(attrs.cuSeqlens);
    const rows = runs.map((r) => r.count * r.length);
    const inputs = runs.length > 1 ? tf.split<tf.Tensor2D>(qkv, rows, 0) : [qkv];
    const outputs = runs.length > 1 ? tf.split<tf.Tensor2D>(dy, rows, 0) : [dy];
    const parts = runs.map((run, i) =>
      tf.tidy(() => runGradient(inputs[i], outputs[i], run, attrs, scoresAtOnce)),
    );
    return parts.length > 1 ? tf.concat(parts, 0) : parts[0];
  });
}

function runGradient(
  qkv: tf.Tensor2D,
  dy: tf.Tensor2D,
  { length: L, count: S }: Run,
  { heads: N, kvHeads: K, causal }: AttentionAttrs,
  scoresAtOnce: number,
): tf.Tensor2D {
  const H = qkv.shape[1] / (N + 2 * K);
  const G = N / K; // query heads that share one key/value head
  const scale = 1 / Math.sqrt(H);
  const [q2, k2, v2] = tf.split<tf.Tensor2D>(qkv, [N * H, K * H, K * H], 1);
  const shared = (x: tf.Tensor2D): tf.Tensor3D => tf.reshape(headsFirst(x, S, L, K, H), [S * K, L, H]);
  const queries: tf.Tensor4D = tf.mul(headsFirst(q2, S, L, N, H), scale); //               [S, N, L, H]
  const [keys, values, out] = [shared(k2), shared(v2), headsFirst(dy, S, L, N, H)];

  const rows = blockRows(L, S * N, scoresAtOnce);
  const dqs: tf.Tensor4D[] = [];
  let sums: readonly tf.Tensor3D[] | null = null; //                                       dk and dv, [S·K, L, H]
  for (let begin = 0; begin < L; begin += rows) {
    const end = Math.min(begin + rows, L);
    const block = end - begin;
    const seen = causal ? end : L; // a causal block sees no key after its last row
    const [dq, ...next] = tf.tidy(() => {
      // Query heads of one key head are folded into its rows, as on the way there.
      const folded = (x: tf.Tensor4D): tf.Tensor3D =>
        tf.reshape(block === L ? x : tf.slice(x, [0, 0, begin, 0], [S, N, block, H]), [S * K, G * block, H]);
      const near = (x: tf.Tensor3D) => (seen === L ? x : tf.slice(x, [0, 0, 0], [S * K, seen, H]));
      const [q, k, v, o] = [folded(queries), near(keys), near(values), folded(out)];
      const P = tf.tidy((): tf.Tensor3D => {
        const scores = product(q, k, { turnB: true }); //                                  [S·K, G·block, seen]
        if (!causal || block === 1) return tf.softmax(scores);
        const byRow = tf.reshape(scores, [S * N, block, seen]);
        return tf.softmax(tf.reshape(tf.add(byRow, causalMask(begin, block, seen)), scores.shape));
      });
      const dS = tf.tidy(() => {
        const weighed = tf.mul(P, product(o, v, { turnB: true })); //                      P ⊙ dP
        return tf.sub(weighed, tf.mul(P, tf.sum(weighed, 2, true))) as tf.Tensor3D;
      });
      const parts = [product(dS, q, { turnA: true }), product(P, o, { turnA: true })]; //  q is scaled already
      const whole = parts.map((part, i) => {
        const all = withRows(part, L);
        return sums ? tf.add(sums[i], all) : all;
      });
      return [tf.reshape(tf.mul(product(dS, k), scale), [S, N, block, H]), ...whole] as tf.Tensor[];
    });
    if (sums) tf.dispose([...sums]);
    sums = next as tf.Tensor3D[];
    dqs.push(dq as tf.Tensor4D);
  }
  const [dk, dv] = sums as readonly tf.Tensor3D[];
  const dq = dqs.length > 1 ? tf.concat(dqs, 2) : dqs[0]; //                               [S, N, L, H]
  return tf.concat([headsLast(dq, S, L, N, H), headsLast(dk, S, L, K, H), headsLast(dv, S, L, K, H)], 1);
}

/** Zeros after the rows that are there.   x: [n, seen, H] → [n, L, H] */
function withRows(x: tf.Tensor3D, L: number): tf.Tensor3D {
  const missing = L - x.shape[1];
  const none: [number, number] = [0, 0];
  return missing === 0 ? x : tf.pad3d(x, [none, [0, missing], none]);
}
