import * as tf from '@tensorflow/tfjs-core';
import { InputError } from '../../src/errors.ts';

/**
 * An embedding table, however it is stored: a tensor, packed words in host memory, or rows that stay on disk.
 * A call needs T rows of V, so a table that is not trained has no reason to live on the device.
 */
export interface EmbeddingTable {
  readonly rows: number;
  readonly width: number;
  readonly storage: 'float32' | 'bfloat16' | 'float16' | 'int8' | 'int4' | 'file';
  readonly bytes: number;
  /** The rows of these ids.   ids: [T] → [T, D], owned by the caller. Ids are already checked. */
  gather(ids: Int32Array, signal?: AbortSignal): tf.Tensor2D | Promise<tf.Tensor2D>;
  dispose(): void;
}

/** A table that is an ordinary tensor [V, D], differentiable. Takes ownership. */
export function tensorTable(tensor: tf.Tensor2D): EmbeddingTable {
  const [rows, width] = tensor.shape;
  return {
    rows,
    width,
    storage: 'float32',
    bytes: tensor.size * 4,
    gather: (ids) => tf.tidy(() => tf.gather(tensor, tf.tensor1d(ids, 'int32'))),
    dispose: () => tensor.dispose(),
  };
}

/** Reads the float32 values of one row into `target`. */
export type RowReader = (id: number, target: Float32Array) => void;

/** A table in host memory, widened row by row as it is read. */
export function hostTable(rows: number, width: number, bytes: number, readRow: RowReader): EmbeddingTable {
  return {
    rows,
    width,
    storage: 'bfloat16',
    bytes,
    gather: (ids) => {
      const values = new Float32Array(ids.length * width);
      ids.forEach((id, t) => {
        readRow(id, values.subarray(t * width, (t + 1) * width));
      });
      return tf.tensor2d(values, [ids.length, width]);
    },
    dispose: () => {},
  };
}

/** Rows of the table for token ids.   ids: [T] → [T, D].   An id outside the table is an `InputError`. */
export async function embed(
  table: EmbeddingTable,
  ids: Int32Array,
  signal?: AbortSignal,
): Promise<tf.Tensor2D> {
  const stray = ids.findIndex((id) => id < 0 || id >= table.rows);
  if (stray >= 0) {
    throw new InputError(
      `token ${stray} has id ${ids[stray]}, but the embedding table has ${table.rows} rows; ` +
        'the tokenizer and the checkpoint do not belong together',
    );
  }
  return table.gather(ids, signal);
}
