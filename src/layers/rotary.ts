import * as tf from '@tensorflow/tfjs-core';

/** cos and sin of every rotary angle, both halves of a head.   [T, H] each. */
export type Rotary = { readonly cos: tf.Tensor2D; readonly sin: tf.Tensor2D };

/**
 * θ^(−2j/d) for j = 0 … d/2−1, rounded to float32 where torch rounds.
 * (transformers: modeling_rope_utils.py, _compute_default_rope_parameters)
 */
export function inverseFrequencies(d: number, theta: number): Float32Array {
  return Float32Array.from({ length: d / 2 }, (_, j) => {
    const power = Math.fround(theta ** Math.fround((2 * j) / d));
    return Math.fround(1 / power);
  });
}

/** Tables from half a head's angles: the second half repeats the first.   angles: [T · H/2] → cos, sin [T, H] */
export function rotaryTables(angles: Float32Array, T: number): Rotary {
  const half = angles.length / T;
  const cos = new Float32Array(2 * angles.length);
  const sin = new Float32Array(2 * angles.length);
  for (let t = 0; t < T; t++) {
    for (let j = 0; j < half; j++) {
      const angle = angles[t * half + j];
      const at = t * 2 * half + j;
      cos[at] = cos[at + half] = Math.cos(angle);
      sin[at] = sin[at + half] = Math.sin(angle);
    }
  }
  return { cos: tf.tensor2d(cos, [T, 2 * half]), sin: tf.tensor2d(sin, [T, 2 * half]) };
}

export const disposeRotary = ({ cos, sin }: Rotary): void => {
  cos.dispose();
  sin.dispose();
};
