import * as tf from '@tensorflow/tfjs-core';
import { decodeRows, type PackedRows } from '../../weights/quantization.ts';
import type { Matrix } from './matrix.ts';
import type { QuantizedMatrix } from './matrix-store.ts';

const ROWS = 32; // decoded and turned at once, so that both sides stay in the cache

/** A quantised matrix as float32 values, turned.   → [in, out] */
export function widenQuantized({ format, rows, outSize, inSize }: QuantizedMatrix): Float32Array {
  const turned = new Float32Array(inSize * outSize);
  const some = new Float32Array(Math.min(ROWS, outSize) * inSize);
  for (let row = 0; row < outSize; row += ROWS) {
    const count = Math.min(ROWS, outSize - row);
    decodeRows(format, rows, inSize, some.subarray(0, count * inSize), row);
    for (let i = 0; i < inSize; i++) {
      const at = i * outSize + row;
      for (let r = 0; r < count; r++) turned[at + r] = some[r * inSize + i];
    }
  }
  return turned;
}

/** Integers and scales in JavaScript memory, outside the backend's heap, as they lie in the checkpoint. */
export function quantizedMatrix(raw: QuantizedMatrix): Matrix {
  const { outSize, inSize } = raw;
  const rows: PackedRows = { codes: raw.rows.codes.slice(), scales: raw.rows.scales.slice() };
  return {
    inSize,
    outSize,
    storage: 'packed',
    bytes: rows.codes.byteLength + rows.scales.byteLength,
    dense: () => tf.tensor2d(widenQuantized({ ...raw, rows }), [inSize, outSize]),
    dispose: () => {},
  };
}
