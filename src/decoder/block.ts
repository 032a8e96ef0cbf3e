import * as tf from '@tensorflow/tfjs-core';
import type { CuSeqlens } from '../../kernels/index.ts';
import { type Mlp, mlpSpec, normedMlp } from '../layers/mlp.ts';
import { type RmsNorm, rmsNormSpec } from '../layers/rms-norm.ts';
import type { Rotary } from '../layers/rotary.ts';
import type { SpecOf } from '../layers/spec.ts';
import type { DecoderConfig } from '../model-config.ts';
import { normedSelfAttention, type SelfAttention, selfAttentionSpec } from './attention.ts';

export type DecoderBlock = {
  readonly inputLayernorm: RmsNorm;
  readonly selfAttn: SelfAttention;
  readonly postAttentionLayernorm: RmsNorm;
  readonly mlp: Mlp;
};

export const decoderBlockSpec = (key: string, c: DecoderConfig): SpecOf<DecoderBlock> => ({
  inputLayernorm: rmsNormSpec(`${key}.input_layernorm`, c.hiddenSize),
  selfAttn: selfAttentionSpec(`${key}.self_attn`, c),
  postAttentionLayernorm: rmsNormSpec(`${key}.post_attention_layernorm`, c.hiddenSize),
  mlp: mlpSpec(`${key}.mlp`, c.hiddenSize, c.intermediateSize, false),
});

/** Pre-norm transformer block (transformers: Qwen2_5_VLDecoderLayer).   x: [T, D] → [T, D] */
export function decoderBlock(
  p: DecoderBlock,
  x: tf.Tensor2D,
  rotary: Rotary,
  config: DecoderConfig,
  cuSeqlens: CuSeqlens,
): tf.Tensor2D {
  return tf.tidy('decoderBlock', () => {
    const eps = config.rmsNormEps;
    const mixed = normedSelfAttention(
      p.selfAttn,
      { x, norm: p.inputLayernorm, eps },
      rotary,
      config,
      cuSeqlens,
    );
    return normedMlp(p.mlp, { x: mixed, norm: p.postAttentionLayernorm, eps });
  });
}
