import * as tf from '@tensorflow/tfjs-core';

/**
 * A weight matrix, however it is stored. This folder alone knows the storages; a layer only multiplies.
 * Held input-major, as the transpose of the checkpoint's [out, in]: stock matmuls are 2 to 10 times slower the other way
 * (bench/README.md), so the turn is made once, at load.
 */
export interface Matrix {
  readonly inSize: number;
  readonly outSize: number;
  /** A float32 tensor, or 16-bit words or quantised integers that are widened before each use. */
  readonly storage: 'float32' | 'packed';
  /** Bytes that stay occupied between calls. */
  readonly bytes: number;
  /**
   * The matrix as float32 [in, out]. A tensor held in this form is returned as it is; of any other storage a new tensor is
   * made, which the enclosing tidy frees. Call inside a tidy and never dispose the result.
   */
  dense(): tf.Tensor2D;
  /** Replaces the matrix by `f` of it, as merging an adapter does. Only where it is kept as float32. */
  update?(f: (dense: tf.Tensor2D) => tf.Tensor2D): void;
  dispose(): void;
}

/** A matrix that is an ordinary tensor. Takes ownership of `tensor` [in, out]. */
export function float32Matrix(tensor: tf.Tensor2D): Matrix {
  const [inSize, outSize] = tensor.shape;
  let held = tensor;
  return {
    inSize,
    outSize,
    storage: 'float32',
    bytes: tensor.size * 4,
    dense: () => held,
    update: (f) => {
      const next = tf.tidy(() => f(held));
      held.dispose();
      held = next;
    },
    dispose: () => held.dispose(),
  };
}
