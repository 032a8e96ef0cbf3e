import * as tf from '@tensorflow/tfjs-core';
import { InputError } from '../../errors.ts';
import type { Loss } from './loss.ts';
import { overViews, type Side, type Views } from './side.ts';

export type DistillScoresOptions = Views & {
  /** Of the student's scores. Default 0.05. */
  readonly temperature?: number;
  /** Of the teacher's scores. Default: the student's. */
  readonly teacherTemperature?: number;
};

// Takes a document out of a softmax, and is still finite.
const HIDDEN = -1e9;

/**
 * KL(teacher ‖ student) of softmax over documents, mean over queries (Hinton et al. 2015). Sides: queries [n],
 * documents [m].   teacher: n rows of m scores; null where the teacher did not see the document with this query: it then
 * stands aside there
 */
export function distillScores(
  teacher: readonly (readonly (number | null)[])[],
  options: DistillScoresOptions = {},
): Loss {
  const { temperature = 0.05, teacherTemperature = temperature } = options;
  const targets = teacher.map((row) =>
    softmax(row.map((s) => (s === null ? Number.NEGATIVE_INFINITY : s / teacherTemperature))),
  );
  const hidden = teacher.flat().map((s) => (s === null ? HIDDEN : 0));
  return {
    name: 'distillScores',
    multi: (options.multi ?? 0) > 0,
    compute: ([queries, documents]) => {
      const [n, m] = [queries.pooled.shape[0], documents.pooled.shape[0]];
      if (targets.length !== n || targets.some((row) => row.length !== m)) {
        throw new InputError(
          `distillation needs a teacher's score for each of ${n} queries and ${m} documents, got ` +
            `${targets.length} rows of ${[...new Set(targets.map((r) => r.length))].join(' or ')}`,
        );
      }
      const p = tf.tensor2d(targets.flat(), [n, m]);
      const mask = tf.tensor2d(hidden, [n, m]);
      // Σ p log p does not depend on the student, but makes the loss 0 where both agree.
      const entropy = targets.flat().reduce((sum, v) => sum + (v > 0 ? v * Math.log(v) : 0), 0) / n;
      return overViews(options, queries.pooled.shape[1], (score) => {
        const logits = tf.add(tf.div(score.all(queries, documents), temperature), mask);
        return tf.sub(entropy, tf.div(tf.sum(tf.mul(p, tf.logSoftmax(logits))), n));
      });
    },
  };
}

/**
 * Mean of 1 − cosine to a teacher's vectors. At a smaller Matryoshka size the teacher's vectors are cut and normalised
 * again, too. Default size: the width of the teacher's vectors. Sides: inputs [n].   teacher: n vectors
 * @throws InputError for `multi`: one vector an input says nothing of its tokens
 */
export function distillVectors(teacher: readonly Float32Array[], options: Views = {}): Loss {
  const size = teacher[0]?.length ?? 0;
  if (options.multi) {
    throw new InputError(
      "a teacher's vectors teach single vectors only, and multi-vectors were asked for; leave them out, or distil scores, " +
        'which teach both',
    );
  }
  const tooLong = options.sizes?.find((s) => s > size);
  if (tooLong !== undefined) {
    throw new InputError(
      `a Matryoshka size of ${tooLong} cannot be learnt from a teacher's vectors of ${size} values; leave it out`,
    );
  }
  return {
    name: 'distillVectors',
    multi: false,
    compute: ([inputs]) => {
      const [n, width] = inputs.pooled.shape;
      if (teacher.length !== n || size < 1 || size > width || teacher.some((v) => v.length !== size)) {
        throw new InputError(
          `distillation of ${n} vectors of ${width} values needs as many teacher's vectors of one width up to that, ` +
            `got ${teacher.length} of ${[...new Set(teacher.map((v) => v.length))].join(' or ') || 0}`,
        );
      }
      const target: Side = {
        pooled: tf.stack(teacher.map((v) => tf.tensor1d(v))) as tf.Tensor2D,
        tokens: null,
      };
      return overViews({ ...options, sizes: options.sizes ?? [size] }, width, (score) =>
        tf.sub(1, tf.mean(score.pairs(inputs, target))),
      );
    },
  };
}

function softmax(values: readonly number[]): number[] {
  const top = Math.max(...values);
  const powers = values.map((v) => Math.exp(v - top));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((p) => p / sum);
}
