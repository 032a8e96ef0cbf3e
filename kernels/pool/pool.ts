import * as tf from '@tensorflow/tfjs-core';
import { dims } from '../dims.ts';
import { defineKernel } from '../registry.ts';

/** Rows [begin, end) of the stream that one vector is the mean of. */
export type Span = { readonly begin: number; readonly end: number };

export type PoolInputs = { readonly x: tf.Tensor2D };
export type PoolAttrs = { readonly spans: readonly Span[] };

/** Each span by itself, so that a vector cannot depend on its neighbours, not even in the last bit. */
export function composedMeanPool({ x }: PoolInputs, { spans }: PoolAttrs): tf.Tensor2D {
  const D = x.shape[1];
  const means = spans.map(
    ({ begin, end }) => tf.mean(tf.slice(x, [begin, 0], [end - begin, D]), 0, true) as tf.Tensor2D,
  );
  return means.length === 1 ? means[0] : tf.concat(means, 0); // [S, D]
}

const pool = defineKernel<PoolInputs, PoolAttrs>('MeanPool', composedMeanPool);

/** Mean over each span of rows.   x: [T, D] → [S, D] */
export function meanPool(x: tf.Tensor2D, spans: readonly Span[]): tf.Tensor2D {
  dims(x, 'T D');
  return pool({ x }, { spans }) as tf.Tensor2D;
}

// torch's F.normalize divides by max(‖x‖, 1e-12): a zero vector stays zero.
export const NORM_FLOOR = 1e-12;

export function composedL2Normalize({ x }: PoolInputs): tf.Tensor2D {
  const norm = tf.sqrt(tf.sum(tf.square(x), 1, true)); //                  [T, 1]
  return tf.div(x, tf.maximum(norm, NORM_FLOOR));
}

const l2 = defineKernel<PoolInputs, Record<string, never>>('L2Normalize', composedL2Normalize);

/** Rows divided by their Euclidean length.   x: [T, D] → [T, D] */
export const l2Normalize = (x: tf.Tensor2D): tf.Tensor2D => l2({ x }, {}) as tf.Tensor2D;
