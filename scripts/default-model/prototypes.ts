import * as tf from '@tensorflow/tfjs-core';
import { l2Normalize } from '../../kernels/index.ts';
import type { Loss } from '../../src/train/losses/loss.ts';
import type { Side } from '../../src/train/losses/side.ts';
import { Random } from '../../src/train/random.ts';
import { variableOf } from '../../src/train/variables.ts';
import { MATRYOSHKA } from './geometry.ts';

// Two towers that learn from each other alone begin by making all vectors equal, and take long to part again. So each emoji
// has a vector of its own, random at the start, which its texts and pictures learn to find among all of them; texts and
// pictures meet there. The vectors are thrown away after training.   (Movshovitz-Attias et al. 2017, proxies)

/** One vector an emoji.   [N, D] */
export const prototypes = (count: number, width: number, seed: number): tf.Variable<tf.Rank.R2> =>
  variableOf(tf.tensor2d(new Random(seed).normalValues(count * width, 1), [count, width]));

const HIDDEN = -1e9;

export type Targets = {
  /** Row of the prototype that input i of every side shall find.   [B] */
  readonly own: Int32Array;
  /** Rows that would be right for an input, too, by side; neither sought nor avoided.   [B] lists each */
  readonly also?: readonly (readonly (readonly number[])[])[];
};

/** −log softmax of the own prototype among all, for every side of a batch, at every Matryoshka size, which have these weights. */
export function prototypeLoss(
  vectors: tf.Variable<tf.Rank.R2>,
  { own, also }: Targets,
  temperature: number,
  weights: readonly number[] = MATRYOSHKA.map(() => 1),
): Loss {
  const [B, N] = [own.length, vectors.shape[0]];
  const hidden = also?.map((lists) => hiddenOf(lists, N));
  const total = weights.reduce((sum, w) => sum + w);
  return {
    name: 'prototypes',
    multi: false,
    compute: (sides) =>
      tf.tidy(() => {
        const truth = tf.cast(tf.oneHot(tf.tensor1d(own, 'int32'), N), 'float32') as tf.Tensor2D; // [B, N]
        const masks = hidden?.map((values) => tf.tensor2d(values, [B, N]));
        const terms = MATRYOSHKA.flatMap((size, k) => {
          const targets = unit(vectors, size);
          return sides.map((side: Side, s) => {
            const cosines = tf.matMul(unit(side.pooled, size), targets, false, true); //          [B, N]
            const logits: tf.Tensor2D = tf.div(cosines, temperature);
            const open = masks ? tf.add(logits, masks[s]) : logits;
            return tf.mul(tf.neg(tf.sum(tf.mul(tf.logSoftmax(open), truth))), weights[k] / B);
          });
        });
        return tf.div(tf.addN(terms), total * sides.length) as tf.Scalar;
      }),
  };
}

/**
 * Cross-entropy of what each input is taught to be, among all prototypes, for every side of a batch, at every Matryoshka size.
 * chances: [B · N], N for each input
 */
export function chanceLoss(
  vectors: tf.Variable<tf.Rank.R2>,
  chances: Float32Array,
  temperature: number,
): Loss {
  const [N] = vectors.shape;
  return {
    name: 'chances',
    multi: false,
    compute: (sides) =>
      tf.tidy(() => {
        const wanted = tf.tensor2d(chances, [chances.length / N, N]); //                              [B, N]
        const terms = MATRYOSHKA.flatMap((size) => {
          const targets = unit(vectors, size);
          return sides.map((side: Side) => {
            const cosines: tf.Tensor2D = tf.matMul(unit(side.pooled, size), targets, false, true); // [B, N]
            const logs = tf.logSoftmax(tf.div(cosines, temperature) as tf.Tensor2D);
            return tf.neg(tf.mean(tf.sum(tf.mul(logs, wanted), 1)));
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
