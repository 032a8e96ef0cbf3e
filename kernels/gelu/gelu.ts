import * as tf from '@tensorflow/tfjs-core';
import { defineKernel } from '../registry.ts';

type Inputs = { readonly x: tf.Tensor2D };

/** x · Φ(x) with the exact error function, as torch's nn.GELU() (not the tanh approximation). */
export function composedGelu({ x }: Inputs): tf.Tensor2D {
  return tf.mul(tf.mul(x, 0.5), tf.add(tf.erf(tf.mul(x, Math.SQRT1_2)), 1));
}

// d/dx x · Φ(x) = Φ(x) + x · φ(x)
const run = defineKernel<Inputs, Record<string, never>>('Gelu', composedGelu, {
  tensors: ({ x }) => [x],
  back: (dy, [x]) => [
    () =>
      tf.tidy(() => {
        const below = tf.mul(tf.add(tf.erf(tf.mul(x, Math.SQRT1_2)), 1), 0.5);
        const density = tf.mul(tf.exp(tf.mul(tf.square(x), -0.5)), 1 / Math.sqrt(2 * Math.PI));
        return tf.mul(dy, tf.add(below, tf.mul(x, density)));
      }),
  ],
});

/** Gaussian error linear unit, exact.   x: [T, F] → [T, F] */
export const gelu = (x: tf.Tensor2D): tf.Tensor2D => run({ x }, {}) as tf.Tensor2D;
