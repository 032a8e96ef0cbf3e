import * as tf from '@tensorflow/tfjs-core';
import { l2Normalize } from '../../../kernels/index.ts';
import { InputError } from '../../errors.ts';
import type { Loss } from './loss.ts';
import { overViews, type Views } from './side.ts';

export type DistillScoresOptions = Views & {
  /** Of the student's scores. Default 0.05. */
  readonly temperature?: number;
  /** Of the teacher's scores. Default: the student's. */
  readonly teacherTemperature?: number;
};

/**
 * KL(teacher ‖ student) of softmax over documents, mean over queries (Hinton et al. 2015). Sides: queries [n],
 * documents [m].   teacher: n rows of m scores
 */
export function distillScores(
  teacher: readonly (readonly number[])[],
  options: DistillScoresOptions = {},
): Loss {
  const { temperature = 0.05, teacherTemperature = temperature } = options;
  const targets = teacher.map((row) => softmax(row.map((s) => s / teacherTemperature)));
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
      // Σ p log p does not depend on the student, but makes the loss 0 where both agree.
      const entropy = targets.flat().reduce((sum, v) => sum + (v > 0 ? v * Math.log(v) : 0), 0) / n;
      return overViews(options, queries.pooled.shape[1], (score) => {
        const student = tf.logSoftmax(tf.div(score.all(queries, documents), temperature));
        return tf.sub(entropy, tf.div(tf.sum(tf.mul(p, student)), n));
      });
    },
  };
}

/** Mean of 1 − cosine to a teacher's vectors, whose width sets the size compared. Sides: inputs [n].   teacher: n vectors */
export function distillVectors(teacher: readonly Float32Array[]): Loss {
  return {
    name: 'distillVectors',
    multi: false,
    compute: ([inputs]) => {
      const [n, width] = inputs.pooled.shape;
      const size = teacher[0]?.length ?? 0;
      if (teacher.length !== n || size < 1 || size > width || teacher.some((v) => v.length !== size)) {
        throw new InputError(
          `distillation of ${n} vectors of ${width} values needs as many teacher's vectors of one width up to that, ` +
            `got ${teacher.length} of ${size}`,
        );
      }
      const target = l2Normalize(tf.stack(teacher.map((v) => tf.tensor1d(v))) as tf.Tensor2D);
      const cut = l2Normalize(tf.slice(inputs.pooled, [0, 0], [n, size]));
      return tf.sub(1, tf.div(tf.sum(tf.mul(cut, target)), n));
    },
  };
}

function softmax(values: readonly number[]): number[] {
  const top = Math.max(...values);
  const powers = values.map((v) => Math.exp(v - top));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((p) => p / sum);
}
