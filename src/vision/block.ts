import * as tf from '@tensorflow/tfjs-core';
import type { CuSeqlens } from '../../kernels/index.ts';
import { type Mlp, mlpSpec, normedMlp } from '../layers/mlp.ts';
import { type RmsNorm, rmsNormSpec } from '../layers/rms-norm.ts';
import type { Rotary } from '../layers/rotary.ts';
import type { SpecOf } from '../layers/spec.ts';
import type { VisionConfig } from '../model-config.ts';
import { normedVisionAttention, type VisionAttention, visionAttentionSpec } from './attention.ts';

// The reference writes 1e-6 into the norms of the tower; it is no key of vision_config (Qwen2_5_VLVisionBlock).
export const VISION_EPS = 1e-6;

export type VisionBlock = {
  readonly norm1: RmsNorm;
  readonly attn: VisionAttention;
  readonly norm2: RmsNorm;
  readonly mlp: Mlp;
};

export const visionBlockSpec = (key: string, c: VisionConfig): SpecOf<VisionBlock> => ({
  norm1: rmsNormSpec(`${key}.norm1`, c.hiddenSize),
  attn: visionAttentionSpec(`${key}.attn`, c.hiddenSize),
  norm2: rmsNormSpec(`${key}.norm2`, c.hiddenSize),
  mlp: mlpSpec(`${key}.mlp`, c.hiddenSize, c.intermediateSize, true),
});

/** Pre-norm transformer block.   x: [P, C] → [P, C] */
export function visionBlock(
  p: VisionBlock,
  x: tf.Tensor2D,
  rotary: Rotary,
  attrs: { heads: number; cuSeqlens: CuSeqlens },
): tf.Tensor2D {
  return tf.tidy('visionBlock', () => {
    const seen = normedVisionAttention(p.attn, { x, norm: p.norm1, eps: VISION_EPS }, rotary, attrs);
    return normedMlp(p.mlp, { x: seen, norm: p.norm2, eps: VISION_EPS });
  });
}
