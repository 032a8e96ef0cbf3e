import * as tf from '@tensorflow/tfjs-core';
import type { CuSeqlens } from '../../kernels/index.ts';
import { type Mlp, mlp, mlpSpec } from '../layers/mlp.ts';
import { type RmsNorm, rmsNorm, rmsNormSpec } from '../layers/rms-norm.ts';
import type { Rotary } from '../layers/rotary.ts';
import type { SpecOf } from '../layers/spec.ts';
import type { VisionConfig } from '../model-config.ts';
import { type VisionAttention, visionAttention, visionAttentionSpec } from './attention.ts';

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
    const normed = rmsNorm(p.norm1, x, VISION_EPS);
    const seen = visionAttention(p.attn, normed, rotary, attrs, x);
    return mlp(p.mlp, rmsNorm(p.norm2, seen, VISION_EPS), seen);
  });
}
