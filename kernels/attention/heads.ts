import * as tf from '@tensorflow/tfjs-core';

// Below every score that float32 arithmetic can produce here, and still finite: −∞ − (−∞) would be NaN.
const HIDDEN = -1e30;

/** x: [S·L, n·H] → [S, n, L, H] */
export const headsFirst = (x: tf.Tensor2D, S: number, L: number, n: number, H: number): tf.Tensor4D =>
  tf.transpose(tf.reshape(x, [S, L, n, H]), [0, 2, 1, 3]);

/** x: values in the order [S, n, L, H] → [S·L, n·H] */
export const headsLast = (x: tf.Tensor, S: number, L: number, n: number, H: number): tf.Tensor2D =>
  tf.reshape(tf.transpose(tf.reshape(x, [S, n, L, H]), [0, 2, 1, 3]), [S * L, n * H]);

/** 0 where the key is not after the query, HIDDEN elsewhere.   → [block, seen] */
export function causalMask(begin: number, block: number, seen: number): tf.Tensor2D {
  const mask = new Float32Array(block * seen);
  for (let i = 0; i < block; i++) mask.fill(HIDDEN, i * seen + begin + i + 1, (i + 1) * seen);
  return tf.tensor2d(mask, [block, seen]);
}
