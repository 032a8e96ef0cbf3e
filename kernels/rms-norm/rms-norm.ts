import * as tf from '@tensorflow/tfjs-core';
import { dims } from '../dims.ts';
import { defineKernel } from '../registry.ts';

export type RmsNormInputs = { readonly x: tf.Tensor2D; readonly weight: tf.Tensor1D };
export type RmsNormAttrs = { readonly eps: number };

/** The definition in stock ops (Zhang & Sennrich 2019; transformers: Qwen2RMSNorm). No +1 on the weight. */
export function composedRmsNorm({ x, weight }: RmsNormInputs, { eps }: RmsNormAttrs): tf.Tensor2D {
  const meanSquare = tf.mean(tf.square(x), -1, true); //                     [T, 1]
  return tf.mul(weight, tf.mul(x, tf.rsqrt(tf.add(meanSquare, eps)))); //    [T, D]
}

/** 1 / √(mean(x²) + eps).   → [T, 1] */
const inverseRoot = (x: tf.Tensor, eps: number): tf.Tensor =>
  tf.rsqrt(tf.add(tf.mean(tf.square(x), -1, true), eps));

// With r = 1/√(mean(x²) + eps) and g = dy ⊙ w:  dx = r · (g − x · r² · mean(g ⊙ x)),  dw = Σ over T of dy ⊙ x · r
const run = defineKernel<RmsNormInputs, RmsNormAttrs>('RmsNorm', composedRmsNorm, {
  tensors: ({ x, weight }) => [x, weight],
  back: (dy, [x, weight], _, { eps }) => [
    () =>
      tf.tidy(() => {
        const r = inverseRoot(x, eps); //                                                  [T, 1]
        const g = tf.mul(dy, weight); //                                                   [T, D]
        const along = tf.mul(tf.mean(tf.mul(g, x), -1, true), tf.square(r)); //            [T, 1]
        return tf.mul(r, tf.sub(g, tf.mul(x, along)));
      }),
    () => tf.tidy(() => tf.sum(tf.mul(dy, tf.mul(x, inverseRoot(x, eps))), 0)),
  ],
});

/** x / √(mean(x², over D) + eps) · weight.   x: [T, D], weight: [D] → [T, D] */
export function rmsNorm(x: tf.Tensor2D, weight: tf.Tensor1D, eps: number): tf.Tensor2D {
  const { D } = dims(x, 'T D');
  dims(weight, 'D', { D });
  return run({ x, weight }, { eps }) as tf.Tensor2D;
}
