import * as tf from '@tensorflow/tfjs-core';

/**
 * Rows of a table by number. As tf.gather, with a gradient that every backend can compute: that of tf.gather needs a kernel
 * (UnsortedSegmentSum) which wasm does not have; scatterND sums rows that were taken twice as well.
 * table: [V, D], ids: int32 [T] → [T, D]
 */
export const gatherRows = (table: tf.Tensor2D, ids: tf.Tensor1D): tf.Tensor2D =>
  tf.customGrad((rows, save) => {
    (save as tf.GradSaveFunc)([ids]); // the caller's tidy ends before the gradient is taken
    return {
      value: tf.gather(rows as tf.Tensor2D, ids),
      gradFunc: (dy, [taken]) => tf.scatterND(tf.reshape(taken, [-1, 1]), dy as tf.Tensor, table.shape),
    };
  })(table) as tf.Tensor2D;
