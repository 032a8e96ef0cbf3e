import * as tf from '@tensorflow/tfjs-core';
import * as ops from '../../kernels/index.ts';
import { type Linear, linear, linearSpec } from '../layers/linear.ts';
import { fusedAttention, type Unnormed } from '../layers/normed-attention.ts';
import { rmsNorm } from '../layers/rms-norm.ts';
import type { Rotary } from '../layers/rotary.ts';
import type { SpecOf } from '../layers/spec.ts';
import type { DecoderConfig } from '../model-config.ts';

export type SelfAttention = {
  readonly qProj: Linear;
  readonly kProj: Linear;
  readonly vProj: Linear;
  readonly oProj: Linear;
};

export function selfAttentionSpec(key: string, c: DecoderConfig): SpecOf<SelfAttention> {
  const D = c.hiddenSize;
  const queries = c.numAttentionHeads * c.headDim;
  const keys = c.numKeyValueHeads * c.headDim;
  return {
    qProj: linearSpec(`${key}.q_proj`, D, queries, { bias: true }),
    kProj: linearSpec(`${key}.k_proj`, D, keys, { bias: true }),
    vProj: linearSpec(`${key}.v_proj`, D, keys, { bias: true }),
    oProj: linearSpec(`${key}.o_proj`, queries, D, { bias: false }),
  };
}

/** Causal grouped-query attention inside each sequence, on a residual stream.   x, residual: [T, D] → [T, D] */
export function selfAttention(
  p: SelfAttention,
  x: tf.Tensor2D,
  { cos, sin }: Rotary,
  { numAttentionHeads: heads, numKeyValueHeads: kvHeads }: DecoderConfig,
  cuSeqlens: ops.CuSeqlens,
  residual: tf.Tensor2D,
): tf.Tensor2D {
  return tf.tidy('selfAttention', () => {
    const q = ops.rope(linear(p.qProj, x), cos, sin, heads); //   [T, N·H]
    const k = ops.rope(linear(p.kProj, x), cos, sin, kvHeads); // [T, K·H]
    const v = linear(p.vProj, x); //                              [T, K·H]
    const mixed = ops.attention({ q, k, v }, { heads, kvHeads, cuSeqlens, causal: true }); // [T, N·H]
    return linear(p.oProj, mixed, { residual }); //                                              [T, D]
  });
}

/** The same with the norm before it, on the stream that it reads: x + selfAttention(norm(x)).   x: [T, D] → [T, D] */
export function normedSelfAttention(
  p: SelfAttention,
  from: Unnormed,
  rotary: Rotary,
  config: DecoderConfig,
  cuSeqlens: ops.CuSeqlens,
): tf.Tensor2D {
  return tf.tidy('normedSelfAttention', () => {
    const { x, norm, eps } = from;
    const { numAttentionHeads: heads, numKeyValueHeads: kvHeads } = config;
    const attrs = { heads, kvHeads, cuSeqlens, causal: true };
    const mixed = fusedAttention(from, [p.qProj, p.kProj, p.vProj], rotary, attrs);
    if (mixed) return linear(p.oProj, mixed, { residual: x });
    return selfAttention(p, rmsNorm(norm, x, eps), rotary, config, cuSeqlens, x);
  });
}
