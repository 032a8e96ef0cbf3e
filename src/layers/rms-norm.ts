import type * as tf from '@tensorflow/tfjs-core';
import * as ops from '../../kernels/index.ts';
import { type TensorSpec, tensorSpec } from './spec.ts';

export type RmsNorm = tf.Tensor1D;

export const rmsNormSpec = (key: string, D: number): TensorSpec => tensorSpec(`${key}.weight`, D);

/** x / √(mean(x²) + eps) · weight.   x: [T, D] → [T, D] */
export const rmsNorm = (p: RmsNorm, x: tf.Tensor2D, eps: number): tf.Tensor2D => ops.rmsNorm(x, p, eps);
