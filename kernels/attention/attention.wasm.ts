import * as tf from '@tensorflow/tfjs-core';
import { type AttentionAttrs, type AttentionInputs, attendRuns, type BatchedMatMul } from './attention.ts';

/**
 * The truth with its batched matmuls taken apart. The stock wasm backend multiplies batches with a plain loop, ten to
 * twenty times slower than the SIMD library it uses for single matrices (bench/README.md).
 */
export const wasmAttention = (inputs: AttentionInputs, attrs: AttentionAttrs): tf.Tensor2D =>
  attendRuns(inputs, attrs, oneByOne);

const WORTH_TAKING_APART = 1 << 22;

const oneByOne: BatchedMatMul = (a, b) => {
  const [B, m, k] = a.shape;
  const n = b.shape[2];
  // Setting the library up costs about as much as multiplying a small matrix: windows and short texts stay batched.
  if (B > 1 && m * k * n < WORTH_TAKING_APART) return tf.matMul(a, b);
  if (B === 1) return tf.reshape(tf.matMul(tf.reshape(a, [m, k]), tf.reshape(b, [k, n])), [1, m, n]);
  const parts = Array.from({ length: B }, (_, i) =>
    tf.tidy(() => {
      const left: tf.Tensor2D = tf.reshape(tf.slice(a, [i, 0, 0], [1, m, k]), [m, k]);
      const right: tf.Tensor2D = tf.reshape(tf.slice(b, [i, 0, 0], [1, k, n]), [k, n]);
      return tf.matMul(left, right);
    }),
  );
  return tf.reshape(tf.concat(parts, 0), [B, m, n]);
};
