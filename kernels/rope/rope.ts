import * as tf from '@tensorflow/tfjs-core';
import { dims } from '../dims.ts';
import { defineKernel } from '../registry.ts';

export type RopeInputs = { readonly x: tf.Tensor2D; readonly cos: tf.Tensor2D; readonly sin: tf.Tensor2D };
export type RopeAttrs = { readonly heads: number };

/** rotate_half form (transformers: apply_rotary_pos_emb): the first half of a head pairs with the second. */
export function composedRope({ x, cos, sin }: RopeInputs, { heads }: RopeAttrs): tf.Tensor2D {
  const [T, width] = x.shape;
  const H = width / heads;
  const byHead = tf.reshape(x, [T, heads, H]); //                                        [T, N, H]
  const first = tf.slice(byHead, [0, 0, 0], [T, heads, H / 2]);
  const second = tf.slice(byHead, [0, 0, H / 2], [T, heads, H / 2]);
  const rotated = tf.concat([tf.neg(second), first], 2); //                              [T, N, H]
  const c = tf.reshape(cos, [T, 1, H]);
  const s = tf.reshape(sin, [T, 1, H]);
  return tf.reshape(tf.add(tf.mul(byHead, c), tf.mul(rotated, s)), [T, width]); //       [T, N·H]
}

const run = defineKernel<RopeInputs, RopeAttrs>('Rope', composedRope);

/**
 * Rotary position embedding (Su et al. 2021) of every head.
 * x: [T, heads·H], cos, sin: [T, H] (angles of both halves, sections already merged) → [T, heads·H]
 */
export function rope(x: tf.Tensor2D, cos: tf.Tensor2D, sin: tf.Tensor2D, heads: number): tf.Tensor2D {
  const { T, NH } = dims(x, 'T NH');
  dims(cos, 'T H', { T, H: NH / heads });
  dims(sin, 'T H', { T, H: NH / heads });
  return run({ x, cos, sin }, { heads }) as tf.Tensor2D;
}
