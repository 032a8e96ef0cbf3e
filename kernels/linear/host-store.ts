import * as tf from '@tensorflow/tfjs-core';
import { widenInto } from '../../weights/dtypes.ts';
import { float32Matrix, type Matrix } from './matrix.ts';
import { type FloatMatrix, isQuantized, type MatrixStore } from './matrix-store.ts';
import { quantizedMatrix, widenQuantized } from './quantized-matrix.ts';
import { transposeWords } from './transpose-words.ts';

/** Matrices of backends without a 16-bit type: packed words stay in JavaScript memory, outside the backend's heap. */
export const hostStore: MatrixStore = {
  float32: (raw) => {
    const { outSize, inSize } = raw;
    if (isQuantized(raw)) return float32Matrix(tf.tensor2d(widenQuantized(raw), [inSize, outSize]));
    const widened = new Float32Array(inSize * outSize);
    widenInto(raw.bytes, raw.dtype, widened);
    const turned = transposeWords(widened, outSize, inSize, new Float32Array(widened.length));
    return float32Matrix(tf.tensor2d(turned, [inSize, outSize]));
  },
  packed: (raw) => {
    if (isQuantized(raw)) return quantizedMatrix(raw);
    return raw.dtype === 'BF16' || raw.dtype === 'F16' ? packedMatrix(raw) : hostStore.float32(raw);
  },
};

function packedMatrix({ bytes, dtype, outSize, inSize }: FloatMatrix): Matrix {
  const words = new Uint16Array(inSize * outSize);
  const aligned = bytes.byteOffset % 2 === 0 ? bytes : bytes.slice();
  transposeWords(new Uint16Array(aligned.buffer, aligned.byteOffset, words.length), outSize, inSize, words);
  const turned = new Uint8Array(words.buffer);
  return {
    inSize,
    outSize,
    storage: 'packed',
    bytes: turned.byteLength,
    dense: () => {
      const widened = new Float32Array(inSize * outSize);
      widenInto(turned, dtype, widened);
      return tf.tensor2d(widened, [inSize, outSize]);
    },
    dispose: () => {},
  };
}
