import { type Matrix, matrixStore } from '../../kernels/index.ts';
import { narrowToBf16 } from '../../weights/narrow.ts';
import { encodeRows, type QuantFormat } from '../../weights/quantization.ts';
import { gaussian } from './close.ts';

/** What a matrix is kept as. Low-rank terms beside quantised weights are bfloat16. */
export type Kept = 'float32' | 'bfloat16' | QuantFormat;

/** A random matrix [out, in] in the store of the current backend, about as large as a trained one. */
export function storedMatrix(outSize: number, inSize: number, seed: number, kept: Kept): Matrix {
  const values = gaussian(outSize * inSize, seed).map((v) => v / Math.sqrt(inSize));
  if (kept === 'int8' || kept === 'int4') {
    const rows = encodeRows(kept, values, inSize);
    return matrixStore().packed({ format: kept, rows, outSize, inSize });
  }
  const packed = kept === 'bfloat16';
  const bytes = new Uint8Array((packed ? narrowToBf16(values) : values).buffer);
  const raw = { bytes, dtype: packed ? 'BF16' : 'F32', outSize, inSize } as const;
  return packed ? matrixStore().packed(raw) : matrixStore().float32(raw);
}

/** How an adapter beside such weights is kept. */
export const besides = (kept: Kept): Kept => (kept === 'float32' ? 'float32' : 'bfloat16');
