import * as tf from '@tensorflow/tfjs-core';
import { type LoraTerm, stretched } from '../linear/linear.ts';
import type { EmbeddingTable } from './embedding.ts';

/**
 * A table with low-rank terms: row(id) + Σ scale · act(A[id]) B, with A [V, R] and B [R, D]. It shares all tensors.
 * (peft: tuners/lora/layer.py, Embedding.forward; dora.py, DoraEmbeddingLayer)
 */
export function loraTable(table: EmbeddingTable, lora: readonly LoraTerm[]): EmbeddingTable {
  const { rows, width, storage, bytes } = table;
  const adapted = (found: tf.Tensor2D, ids: Int32Array): tf.Tensor2D => {
    const y = tf.tidy(() => addTerms(found, tf.tensor1d(ids, 'int32'), lora));
    found.dispose();
    return y;
  };
  return {
    rows,
    width,
    storage,
    bytes,
    gather: (ids, signal) => {
      const found = table.gather(ids, signal);
      return found instanceof Promise ? found.then((own) => adapted(own, ids)) : adapted(found, ids);
    },
    dispose: () => {},
  };
}

/** y: [T, D], ids: [T] → [T, D] */
function addTerms(y: tf.Tensor2D, ids: tf.Tensor1D, lora: readonly LoraTerm[]): tf.Tensor2D {
  for (const { a, b, scale, activation, bBias, dora } of lora) {
    const low: tf.Tensor2D = tf.gather(a.dense(), ids); //                                   [T, R]
    const mid = activation === 'relu' ? tf.relu(low) : low;
    let delta: tf.Tensor2D = tf.mul(tf.matMul(mid, b.dense()), scale); //                    [T, D]
    if (bBias) delta = tf.add(delta, tf.mul(bBias, scale));
    y = tf.add(y, dora ? stretched(dora, y, delta) : delta);
  }
  return y;
}
