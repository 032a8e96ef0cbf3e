import * as tf from '@tensorflow/tfjs-core';
import { upperFactor } from './upper-factor.ts';

/** U of XᵀX = U D Uᵀ for some columns: rows above them, and between them.   far: [first, width], near: [width, width] */
export type Panel = {
  readonly first: number;
  readonly width: number;
  readonly far: tf.Tensor2D | null;
  readonly near: Float32Array;
};

/**
 * Added to the diagonal, as a part of its mean: what was never seen must not look free (Frantar et al. 2023, 3.3). Ten times as
 * much gave no other mean cosine over other inputs, and a least one that was higher or lower with the inputs.
 */
export const DAMPING = 0.01;
/** Columns of a panel: a multiple of a group. More make products larger, and the part in plain arrays, too. */
export const PANEL = 128;

/**
 * The panels of a Gram matrix, first to last. Blocked from the last columns to the first: what is left shrinks.
 * gram: [in, in], of any rank
 */
export async function feedbackPanels(gram: tf.Tensor2D, signal?: AbortSignal): Promise<readonly Panel[]> {
  const [n] = gram.shape;
  const panels: Panel[] = [];
  const damping = await dampingOf(gram);
  let left: tf.Tensor2D = tf.clone(gram);
  try {
    for (let first = Math.floor((n - 1) / PANEL) * PANEL; first >= 0; first -= PANEL) {
      signal?.throwIfAborted();
      const width = Math.min(PANEL, n - first);
      const corner = tf.tidy(() => tf.slice(left, [first, first], [width, width]));
      const values = await corner.data();
      corner.dispose();
      const { near, diagonal, turn } = upperFactor(values as Float32Array, damping);
      if (first === 0) {
        panels.unshift({ first, width, far: null, near });
        break;
      }
      const [far, rest] = tf.tidy(() => {
        const above: tf.Tensor2D = tf.slice(left, [0, first], [first, width]);
        const far: tf.Tensor2D = tf.matMul(above, tf.tensor2d(turn, [width, width])); // [first, width]
        const known = tf.matMul(tf.mul(far, tf.tensor1d(diagonal)), far, false, true);
        return [far, tf.sub(tf.slice(left, [0, 0], [first, first]), known)] as [tf.Tensor2D, tf.Tensor2D];
      });
      panels.unshift({ first, width, far, near });
      left.dispose();
      left = rest;
    }
    return panels;
  } catch (error) {
    for (const { far } of panels) far?.dispose();
    throw error;
  } finally {
    left.dispose();
  }
}

/** λ. A map that was given zeros only has no errors to weigh: any λ is right for it. */
async function dampingOf(gram: tf.Tensor2D): Promise<number> {
  const [n] = gram.shape;
  const places = Int32Array.from({ length: n }, (_, i) => i * (n + 1));
  const mean = tf.tidy(() => tf.mean(tf.gather(tf.reshape(gram, [n * n]), tf.tensor1d(places, 'int32'))));
  const [value] = await mean.data();
  mean.dispose();
  return DAMPING * value || 1;
}
