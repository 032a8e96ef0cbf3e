import * as tf from '@tensorflow/tfjs-core';
import type { Span } from '../../../kernels/index.ts';

type Tokens = { readonly vectors: tf.Tensor2D; readonly spans: readonly Span[] };

// Below every cosine, and still finite.
const HIDDEN = -1e30;

/**
 * (1/|a|) Σ over tokens s of a of max over tokens t of b of s · t, for every a and b (Khattab & Zaharia 2020, divided by
 * the length so that long queries weigh no more).   → [n, m]
 */
export function maxSim(a: Tokens, b: Tokens): tf.Tensor2D {
  const best = bestOf(a, b); //                                                  [m, rows of a]
  return tf.transpose(tf.matMul(best, meanOverTokens(a.spans))); //              [n, m]
}

/** The same for a[i] and b[i] alone.   → [n] */
export function pairedMaxSim(a: Tokens, b: Tokens): tf.Tensor1D {
  const n = a.spans.length;
  const diagonal = tf.eye(n);
  return tf.sum(tf.mul(maxSim(a, b), diagonal), 1);
}

/** For each input of b the largest product with each token of a.   → [m, rows of a] */
function bestOf(a: Tokens, b: Tokens): tf.Tensor2D {
  const { index, mask, longest } = padded(b.spans);
  const m = b.spans.length;
  const queries = tf.gather(a.vectors, rowsOf(a.spans)); //                      [rows of a, E]
  const documents = tf.gather(b.vectors, index); //                              [m · longest, E]
  const products = tf.matMul(documents, queries, false, true); //                [m · longest, rows of a]
  const byInput = tf.reshape(tf.add(products, mask), [m, longest, queries.shape[0]]);
  return tf.max(byInput, 1);
}

/** Rows of spans, side by side. */
const rowsOf = (spans: readonly Span[]): tf.Tensor1D =>
  tf.tensor1d(
    spans.flatMap(({ begin, end }) => Array.from({ length: end - begin }, (_, i) => begin + i)),
    'int32',
  );

/** Rows of spans padded to the longest, and what hides the padding.   mask: [m · longest, 1] */
function padded(spans: readonly Span[]) {
  const longest = Math.max(...spans.map((s) => s.end - s.begin));
  const index = new Int32Array(spans.length * longest);
  const mask = new Float32Array(spans.length * longest).fill(HIDDEN);
  spans.forEach(({ begin, end }, i) => {
    for (let t = 0; t < end - begin; t++) {
      index[i * longest + t] = begin + t;
      mask[i * longest + t] = 0;
    }
  });
  return { index: tf.tensor1d(index, 'int32'), mask: tf.tensor2d(mask, [mask.length, 1]), longest };
}

/** → [rows, n]: column i holds 1/length at the rows of span i */
function meanOverTokens(spans: readonly Span[]): tf.Tensor2D {
  const rows = spans.reduce((sum, s) => sum + s.end - s.begin, 0);
  const values = new Float32Array(rows * spans.length);
  let row = 0;
  spans.forEach(({ begin, end }, i) => {
    for (let t = begin; t < end; t++) values[row++ * spans.length + i] = 1 / (end - begin);
  });
  return tf.tensor2d(values, [rows, spans.length]);
}
