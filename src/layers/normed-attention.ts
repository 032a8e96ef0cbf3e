import * as tf from '@tensorflow/tfjs-core';
import * as ops from '../../kernels/index.ts';
import type { Linear } from './linear.ts';
import type { RmsNorm } from './rms-norm.ts';
import type { Rotary } from './rotary.ts';

/** How heads attend. Keys and values have as many heads of their own. */
export type HeadAttrs = Parameters<typeof ops.attention>[1];

/** A stream that is still to be normed.   x: [T, D] */
export type Unnormed = { readonly x: tf.Tensor2D; readonly norm: RmsNorm; readonly eps: number };

/**
 * Attention of q, k and v (maps side by side, or one for all three) in three dispatches; null where it is better done op by op.
 * x: [T, D] → [T, N·H]
 */
export function fusedAttention(
  { x, norm, eps }: Unnormed,
  maps: readonly Linear[],
  { cos, sin }: Rotary,
  attrs: HeadAttrs,
): tf.Tensor2D | null {
  if (!ops.fansOut({ maps, rows: x.shape[0], outputs: ops.widthOf(maps) })) return null;
  return tf.tidy('fusedAttention', () => {
    const rows = ops.normLow({ x, weight: norm, maps }, { eps }); //                      [T, D + ΣR]
    const qkv = ops.heads({ rows, maps, cos, sin }, { turned: attrs.heads + attrs.kvHeads }); // [T, (N + 2K)·H]
    return ops.joinedAttention(qkv, attrs);
  });
}
