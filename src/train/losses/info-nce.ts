import * as tf from '@tensorflow/tfjs-core';
import { InputError } from '../../errors.ts';
import type { Loss } from './loss.ts';
import { overViews, type Scorer, type Side, type Views } from './side.ts';

export type InfoNceOptions = Views & {
  /** Default 0.02, as jina-embeddings-v4. */
  readonly temperature?: number;
  /** Also documents to queries; hard negatives have no query and stand aside there. Default true. */
  readonly bothDirections?: boolean;
  /** One number a pair: pairs of the same group are no negatives for each other (equal texts, equal pictures). */
  readonly groups?: readonly number[];
  /** 1 where document j also answers query i, so that it is no negative of it.   [n · n] */
  readonly answers?: Uint8Array;
};

const HIDDEN = -1e9;

/**
 * −log softmax(s/τ) of the true pair among all in the batch (van den Oord et al. 2018).
 * Sides: queries [n], documents [n], and hard negatives [any number], which every query sees.
 */
export function infoNce(options: InfoNceOptions = {}): Loss {
  const { temperature = 0.02, bothDirections = true, groups, answers } = options;
  const hidden = answers && hiddenAnswers(answers); // once for all views
  const compute = (score: Scorer, [queries, documents, negatives]: readonly Side[]): tf.Scalar => {
    const n = queries.pooled.shape[0];
    if (documents.pooled.shape[0] !== n) {
      throw new InputError(
        `InfoNCE needs a document a query: ${n} queries, ${documents.pooled.shape[0]} documents`,
      );
    }
    if (answers && answers.length !== n * n)
      throw new InputError(`${n} pairs need ${n * n} answers, got ${answers.length}`);
    let inBatch = tf.div(score.all(queries, documents), temperature) as tf.Tensor2D; //           [n, n]
    if (groups) inBatch = tf.add(inBatch, sameGroup(groups, n));
    if (hidden) inBatch = tf.add(inBatch, tf.tensor2d(hidden, [n, n]));
    const harder = negatives && tf.div(score.all(queries, negatives), temperature); //            [n, k]
    const forth = trueColumn(harder ? tf.concat([inBatch, harder as tf.Tensor2D], 1) : inBatch);
    if (!bothDirections) return forth;
    return tf.div(tf.add(forth, trueColumn(tf.transpose(inBatch))), 2);
  };
  return {
    name: 'infoNce',
    multi: (options.multi ?? 0) > 0,
    compute: (sides) => overViews(options, sides[0].pooled.shape[1], (score) => compute(score, sides)),
  };
}

/** Mean over rows i of −log softmax(logits)[i, i].   logits: [n, n + k] → scalar */
function trueColumn(logits: tf.Tensor2D): tf.Scalar {
  const [n, columns] = logits.shape;
  const truth = tf.eye(n, columns) as tf.Tensor2D;
  return tf.neg(tf.div(tf.sum(tf.mul(tf.logSoftmax(logits), truth)), n));
}

/** HIDDEN where a document answers the query of another, 0 elsewhere.   → [n · n] */
function hiddenAnswers(answers: Uint8Array): Float32Array {
  const n = Math.sqrt(answers.length);
  const values = new Float32Array(answers.length);
  for (let i = 0; i < values.length; i++) if (answers[i] && i % (n + 1) !== 0) values[i] = HIDDEN;
  return values;
}

/** HIDDEN where two different pairs are of one group, 0 elsewhere.   → [n, n] */
function sameGroup(groups: readonly number[], n: number): tf.Tensor2D {
  if (groups.length !== n)
    throw new InputError(`${n} pairs need as many group numbers, got ${groups.length}`);
  const values = new Float32Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) if (i !== j && groups[i] === groups[j]) values[i * n + j] = HIDDEN;
  }
  return tf.tensor2d(values, [n, n]);
}
