import * as tf from '@tensorflow/tfjs-core';
import * as ops from '../../kernels/index.ts';
import { type Linear, linear, linearSpec } from '../layers/linear.ts';
import { fusedAttention, type Unnormed } from '../layers/normed-attention.ts';
import { rmsNorm } from '../layers/rms-norm.ts';
import type { Rotary } from '../layers/rotary.ts';
import type { SpecOf } from '../layers/spec.ts';

export type VisionAttention = { readonly qkv: Linear; readonly proj: Linear };

export const visionAttentionSpec = (key: string, C: number): SpecOf<VisionAttention> => ({
  qkv: linearSpec(`${key}.qkv`, C, 3 * C, { bias: true }),
  proj: linearSpec(`${key}.proj`, C, C, { bias: true }),
});

/** Bidirectional attention inside each segment (a window, or a whole image).   x, residual: [P, C] → [P, C] */
export function visionAttention(
  p: VisionAttention,
  x: tf.Tensor2D,
  { cos, sin }: Rotary,
  { heads, cuSeqlens }: { heads: number; cuSeqlens: ops.CuSeqlens },
  residual: tf.Tensor2D,
): tf.Tensor2D {
  return tf.tidy('visionAttention', () => {
    const [q, k, v] = tf.tidy(() => {
      const [q, k, v] = tf.split<tf.Tensor2D>(linear(p.qkv, x), 3, 1); //       3 × [P, C]
      return [ops.rope(q, cos, sin, heads), ops.rope(k, cos, sin, heads), v];
    });
    const mixed = ops.attention({ q, k, v }, { heads, kvHeads: heads, cuSeqlens, causal: false });
    return linear(p.proj, mixed, { residual }); //                           [P, C]
  });
}

/** The same with the norm before it, on the stream that it reads: x + visionAttention(norm(x)).   x: [P, C] → [P, C] */
export function normedVisionAttention(
  p: VisionAttention,
  from: Unnormed,
  rotary: Rotary,
  attrs: { heads: number; cuSeqlens: ops.CuSeqlens },
): tf.Tensor2D {
  return tf.tidy('normedVisionAttention', () => {
    const { x, norm, eps } = from;
    const mixed = fusedAttention(from, [p.qkv], rotary, { ...attrs, kvHeads: attrs.heads, causal: false });
    if (mixed) return linear(p.proj, mixed, { residual: x });
    return visionAttention(p, rmsNorm(norm, x, eps), rotary, attrs, x);
  });
}
