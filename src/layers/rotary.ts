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

/** cos and sin as plain arrays [T · H]: what can be kept between calls. */
export type RotaryValues = { readonly cos: Float32Array; readonly sin: Float32Array; readonly rows: number };

/** Values from half a head's angles: the second half repeats the first.   angles: [T · H/2] → cos, sin [T · H] */
export function rotaryValues(angles: Float32Array, rows: number): RotaryValues {
  const half = angles.length / rows;
  const cos = new Float32Array(2 * angles.length);
  const sin = new Float32Array(2 * angles.length);
  for (let t = 0; t < rows; t++) {
    for (let j = 0; j < half; j++) {
      const angle = angles[t * half + j];
      const at = t * 2 * half + j;
      cos[at] = cos[at + half] = Math.cos(angle);
      sin[at] = sin[at + half] = Math.sin(angle);
    }
  }
  return { cos, sin, rows };
}

/** The values of several sequences, one after the other, as tensors [T, H]. */
export function rotaryTables(parts: readonly RotaryValues[]): Rotary {
  const T = parts.reduce((sum, p) => sum + p.rows, 0);
  const tensor = (pick: (p: RotaryValues) => Float32Array): tf.Tensor2D => {
    if (parts.length === 1) return tf.tensor2d(pick(parts[0]).slice(), [T, parts[0].cos.length / T]);
    const all = new Float32Array(parts.reduce((sum, p) => sum + p.cos.length, 0));
    let at = 0;
    for (const part of parts) {
      all.set(pick(part), at);
      at += part.cos.length;
    }
    return tf.tensor2d(all, [T, all.length / T]);
  };
  return { cos: tensor((p) => p.cos), sin: tensor((p) => p.sin) };
}

export const disposeRotary = ({ cos, sin }: Rotary): void => {
  cos.dispose();
  sin.dispose();
};
