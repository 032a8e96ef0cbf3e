import * as tf from '@tensorflow/tfjs-core';
import { l2Normalize } from '../../kernels/index.ts';
import type { Loss } from '../../src/train/losses/loss.ts';
import type { Side } from '../../src/train/losses/side.ts';
import { Random } from '../../src/train/random.ts';
import { variableOf } from '../../src/train/variables.ts';
import { MATRYOSHKA } from './geometry.ts';
import type { Batch } from './sampler.ts';

// Two towers that learn from each other alone begin by making all vectors equal, and take long to part again. So each emoji
// has a vector of its own, random at the start, which its texts and pictures learn to find among all of them; texts and
// pictures meet there. The vectors are thrown away after training.   (Movshovitz-Attias et al. 2017, proxies)

/** One vector an emoji.   [N, D] */
export const prototypes = (count: number, width: number, seed: number): tf.Variable<tf.Rank.R2> =>
  variableOf(tf.tensor2d(new Random(seed).normalValues(count * width, 1), [count, width]));

const HIDDEN = -1e9;

/** −log softmax of the own emoji's prototype among all, for two texts and a picture of each emoji, at every size. */
export function prototypeLoss(
  vectors: tf.Variable<tf.Rank.R2>,
  { emoji, first, second, twins }: Pick<Batch, 'emoji' | 'first' | 'second' | 'twins'>,
  temperature: number,
): Loss {
  const count = vectors.shape[0];
  const hidden = [first.also, second.also, twins].map((also) => hiddenOf(also, count));
  return {
    name: 'prototypes',
    multi: false,
    compute: (sides) =>
      tf.tidy(() => {
        const own = tf.cast(tf.oneHot(tf.tensor1d(emoji, 'int32'), count), 'float32') as tf.Tensor2D; // [B, N]
        const masks = hidden.map((values) => tf.tensor2d(values, [emoji.length, count]));
        const terms = MATRYOSHKA.flatMap((size) => {
          const targets = unit(vectors, size);
          return sides.map((side: Side, s) => {
            const cosines = tf.matMul(unit(side.pooled, size), targets, false, true); //        [B, N]
            const logits = tf.add(tf.div(cosines, temperature), masks[s]);
            return tf.neg(tf.div(tf.sum(tf.mul(tf.logSoftmax(logits), own)), emoji.length));
          });
        });
        return tf.div(tf.addN(terms), terms.length) as tf.Scalar;
      }),
  };
}

const unit = (x: tf.Tensor2D, size: number): tf.Tensor2D =>
  l2Normalize(size === x.shape[1] ? x : tf.slice(x, [0, 0], [x.shape[0], size]));

/** HIDDEN at the emoji that an input shows or names besides its own.   → [B · N] */
function hiddenOf(also: readonly (readonly number[])[], count: number): Float32Array {
  const values = new Float32Array(also.length * count);
  also.forEach((others, i) => {
    for (const j of others) values[i * count + j] = HIDDEN;
  });
  return values;
}
