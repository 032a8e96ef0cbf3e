import * as tf from '@tensorflow/tfjs-core';
import { widenInto } from '../../weights/dtypes.ts';
import { hostStore } from './host-store.ts';
import type { Matrix } from './matrix.ts';
import { type FloatMatrix, isQuantized, type MatrixStore } from './matrix-store.ts';
import { transposeWords } from './transpose-words.ts';

/** A matrix of bfloat16 words [out, in] on the backend's heap, as they lie in the checkpoint: the product widens and turns them. */
export type BfloatMatrix = Matrix & { readonly words: tf.Tensor };

export const isBfloat = (matrix: Matrix): matrix is BfloatMatrix => 'words' in matrix;

/** Matrices for products of our own on the WebAssembly heap. Float16 is rare, and goes the way of every backend. */
export const wasmStore: MatrixStore = {
  float32: hostStore.float32,
  packed: (raw) =>
    !isQuantized(raw) && raw.dtype === 'BF16' && raw.bytes.byteLength % 4 === 0
      ? bfloatMatrix(raw)
      : hostStore.packed(raw),
};

function bfloatMatrix({ bytes, outSize, inSize }: FloatMatrix): BfloatMatrix {
  const aligned = bytes.byteOffset % 4 === 0 ? bytes : bytes.slice();
  const words = tf.tensor1d(
    new Int32Array(aligned.buffer, aligned.byteOffset, bytes.byteLength / 4),
    'int32',
  );
  return {
    inSize,
    outSize,
    storage: 'packed',
    bytes: bytes.byteLength,
    words,
    dense: () => {
      const packed = words.dataSync();
      const widened = new Float32Array(inSize * outSize);
      widenInto(new Uint8Array(packed.buffer, packed.byteOffset, packed.byteLength), 'BF16', widened);
      return tf.tensor2d(transposeWords(widened, outSize, inSize, new Float32Array(widened.length)), [
        inSize,
        outSize,
      ]);
    },
    dispose: () => words.dispose(),
  };
}
