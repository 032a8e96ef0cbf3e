import * as tf from '@tensorflow/tfjs-core';
import { type Linear, linear, linearSpec } from './linear.ts';
import type { SpecOf } from './spec.ts';

export type Mlp = { readonly gateProj: Linear; readonly upProj: Linear; readonly downProj: Linear };

export const mlpSpec = (key: string, D: number, F: number, bias: boolean): SpecOf<Mlp> => ({
  gateProj: linearSpec(`${key}.gate_proj`, D, F, { bias }),
  upProj: linearSpec(`${key}.up_proj`, D, F, { bias }),
  downProj: linearSpec(`${key}.down_proj`, F, D, { bias }),
});

// The widest tensors of a model are the MLP's, and its rows do not know each other: a long stream goes through in parts.
export const ROWS_AT_ONCE = 4096;

/** SwiGLU feed-forward on a residual stream: residual + down(silu(gate x) ⊙ up x).   x, residual: [T, D] → [T, D] */
export function mlp(p: Mlp, x: tf.Tensor2D, residual: tf.Tensor2D): tf.Tensor2D {
  const [T, D] = x.shape;
  if (T <= ROWS_AT_ONCE) return feedForward(p, x, residual);
  return tf.tidy('mlp', () => {
    const parts: tf.Tensor2D[] = [];
    for (let begin = 0; begin < T; begin += ROWS_AT_ONCE) {
      const rows = Math.min(ROWS_AT_ONCE, T - begin);
      const part = (t: tf.Tensor2D) => tf.slice(t, [begin, 0], [rows, D]);
      parts.push(tf.tidy(() => feedForward(p, part(x), part(residual))));
    }
    return tf.concat(parts, 0);
  });
}

const feedForward = (p: Mlp, x: tf.Tensor2D, residual: tf.Tensor2D): tf.Tensor2D =>
  tf.tidy(() => {
    const inner = linear(p.upProj, x, { gate: linear(p.gateProj, x) }); // [T, F]
    return linear(p.downProj, inner, { residual }); //                      [T, D]
  });
