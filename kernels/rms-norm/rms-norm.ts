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

const run = defineKernel<RmsNormInputs, RmsNormAttrs>('RmsNorm', composedRmsNorm);

/** x / √(mean(x², over D) + eps) · weight.   x: [T, D], weight: [D] → [T, D] */
export function rmsNorm(x: tf.Tensor2D, weight: tf.Tensor1D, eps: number): tf.Tensor2D {
  const { D } = dims(x, 'T D');
  dims(weight, 'D', { D });
  return run({ x, weight }, { eps }) as tf.Tensor2D;
}
