import * as tf from '@tensorflow/tfjs-core';
import { dims } from '../dims.ts';
import { defineKernel } from '../registry.ts';

export type SwigluInputs = { readonly gate: tf.Tensor2D; readonly up: tf.Tensor2D };

/** silu(gate) ⊙ up, with silu(x) = x · sigmoid(x) (Shazeer 2020, "GLU Variants Improve Transformer"). */
export function composedSwiglu({ gate, up }: SwigluInputs): tf.Tensor2D {
  return tf.mul(tf.mul(gate, tf.sigmoid(gate)), up);
}

// silu'(x) = σ(x) · (1 + x · (1 − σ(x)))
const run = defineKernel<SwigluInputs, Record<string, never>>('Swiglu', composedSwiglu, {
  tensors: ({ gate, up }) => [gate, up],
  back: (dy, [gate, up]) => [
    () =>
      tf.tidy(() => {
        const open = tf.sigmoid(gate);
        const slope = tf.mul(open, tf.add(tf.mul(gate, tf.sub(1, open)), 1));
        return tf.mul(tf.mul(dy, up), slope);
      }),
    () => tf.tidy(() => tf.mul(dy, tf.mul(gate, tf.sigmoid(gate)))),
  ],
});

/** silu(gate) ⊙ up.   gate, up: [T, F] → [T, F] */
export function swiglu(gate: tf.Tensor2D, up: tf.Tensor2D): tf.Tensor2D {
  const { T, F } = dims(gate, 'T F');
  dims(up, 'T F', { T, F });
  return run({ gate, up }, {}) as tf.Tensor2D;
}
