import * as tf from '@tensorflow/tfjs-core';
import { dims } from '../dims.ts';
import { type Body, defineKernel } from '../registry.ts';

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

// A rotation goes back by the opposite angle. (The halves of `sin` are equal: src/layers/rotary.ts.)
const run: Body<RopeInputs, RopeAttrs> = defineKernel('Rope', composedRope, {
  tensors: ({ x, cos, sin }) => [x, cos, sin],
  back: (dy, [, cos, sin], _, attrs) => [
    () =>
      tf.tidy(() =>
        run({ x: dy as tf.Tensor2D, cos: cos as tf.Tensor2D, sin: tf.neg(sin as tf.Tensor2D) }, attrs),
      ),
  ],
});

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
