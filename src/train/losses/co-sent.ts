import * as tf from '@tensorflow/tfjs-core';
import { InputError } from '../../errors.ts';
import type { Loss } from './loss.ts';
import { overViews, type Scorer, type Side, type Views } from './side.ts';

export type CoSentOptions = Views & {
  /** Default 0.05: a scale of 20. */
  readonly temperature?: number;
};

const HIDDEN = -1e9;

/**
 * log(1 + Σ over pairs i, j with score i > score j of exp((s_j − s_i)/τ)): scores ask for an order, not for values
 * (Su 2022; sentence-transformers: CoSENTLoss). Sides: left [n], right [n].   scores: [n]
 */
export function coSent(scores: readonly number[], options: CoSentOptions = {}): Loss {
  const { temperature = 0.05 } = options;
  const compute = (score: Scorer, [left, right]: readonly Side[]): tf.Scalar => {
    const n = scores.length;
    if (left.pooled.shape[0] !== n || right.pooled.shape[0] !== n) {
      throw new InputError(
        `CoSENT needs a score a pair: ${n} scores, ${left.pooled.shape[0]} and ${right.pooled.shape[0]} inputs`,
      );
    }
    const s = tf.div(score.pairs(left, right), temperature); //                       [n]
    const wrong = tf.sub(tf.reshape(s, [1, n]), tf.reshape(s, [n, 1])); //            [i, j] = s_j − s_i
    const ordered = tf.reshape(tf.add(wrong, outOfOrder(scores)), [n * n]);
    return tf.logSumExp(tf.concat([tf.zeros([1]), ordered])) as tf.Scalar; //         the 0 is the 1 of log(1 + …)
  };
  return {
    name: 'coSent',
    multi: (options.multi ?? 0) > 0,
    compute: (sides) => overViews(options, sides[0].pooled.shape[1], (one) => compute(one, sides)),
  };
}

/** 0 where score i > score j, HIDDEN elsewhere.   → [n, n] */
function outOfOrder(scores: readonly number[]): tf.Tensor2D {
  const n = scores.length;
  const values = scores.flatMap((si) => scores.map((sj) => (si > sj ? 0 : HIDDEN)));
  return tf.tensor2d(values, [n, n]);
}
