import * as tf from '@tensorflow/tfjs-core';
import * as ops from '../../kernels/index.ts';
import { type Linear, linear } from '../layers/linear.ts';

/**
 * Single vectors: mean over each span, then L2.   hidden: [T, D] → [S, D]
 * (reference: modeling_jina_embeddings_v4.py, get_single_vector_embeddings)
 */
export const singleVectors = (hidden: tf.Tensor2D, spans: readonly ops.Span[]): tf.Tensor2D =>
  tf.tidy('singleVectors', () => ops.l2Normalize(ops.meanPool(hidden, spans)));

/**
 * Multi-vectors for late interaction: every token through the projector, then L2.   hidden: [T, D] → [T, E]
 * (reference: get_multi_vector_embeddings)
 */
export const multiVectors = (projector: Linear, hidden: tf.Tensor2D): tf.Tensor2D =>
  tf.tidy('multiVectors', () => ops.l2Normalize(linear(projector, hidden)));
