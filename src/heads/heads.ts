import * as tf from '@tensorflow/tfjs-core';
import * as ops from '../../kernels/index.ts';
import { type Linear, linear } from '../layers/linear.ts';

/**
 * Single vectors: mean over each span, cut to the Matryoshka size, then L2: the same numbers as cutting the unit vector
 * and normalising again.   hidden: [T, D] → [S, size]
 * (reference: modeling_jina_embeddings_v4.py, get_single_vector_embeddings)
 */
export const singleVectors = (
  hidden: tf.Tensor2D,
  spans: readonly ops.Span[],
  { size, normalize }: { readonly size: number; readonly normalize: boolean },
): tf.Tensor2D =>
  tf.tidy('singleVectors', () => {
    const cut = tf.slice(ops.meanPool(hidden, spans), [0, 0], [spans.length, size]);
    return normalize ? ops.l2Normalize(cut) : cut;
  });

/**
 * Multi-vectors for late interaction: every token through the projector, then L2.   hidden: [T, D] → [T, E]
 * (reference: get_multi_vector_embeddings)
 */
export const multiVectors = (projector: Linear, hidden: tf.Tensor2D): tf.Tensor2D =>
  tf.tidy('multiVectors', () => ops.l2Normalize(linear(projector, hidden)));
