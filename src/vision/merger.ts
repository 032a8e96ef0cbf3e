import * as tf from '@tensorflow/tfjs-core';
import * as ops from '../../kernels/index.ts';
import { type Linear, linear, linearSpec } from '../layers/linear.ts';
import { type RmsNorm, rmsNorm, rmsNormSpec } from '../layers/rms-norm.ts';
import type { SpecOf } from '../layers/spec.ts';
import type { VisionConfig } from '../model-config.ts';
import { VISION_EPS } from './block.ts';

export type Merger = { readonly lnQ: RmsNorm; readonly mlp0: Linear; readonly mlp2: Linear };

export function mergerSpec(key: string, c: VisionConfig): SpecOf<Merger> {
  const joined = c.hiddenSize * c.spatialMergeSize ** 2;
  return {
    lnQ: rmsNormSpec(`${key}.ln_q`, c.hiddenSize),
    mlp0: linearSpec(`${key}.mlp.0`, joined, joined, { bias: true }),
    mlp2: linearSpec(`${key}.mlp.2`, joined, c.outHiddenSize, { bias: true }),
  };
}

/** The four patches of a merge block become one visual token of decoder width.   x: [P, C] → [M, D] with M = P/4 */
export function merger(p: Merger, x: tf.Tensor2D): tf.Tensor2D {
  return tf.tidy('merger', () => {
    const joined: tf.Tensor2D = tf.reshape(rmsNorm(p.lnQ, x, VISION_EPS), [-1, p.mlp0.weight.inSize]); // [M, 4·C]
    return linear(p.mlp2, ops.gelu(linear(p.mlp0, joined))); //                                            [M, D]
  });
}
