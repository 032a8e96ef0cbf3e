import { isQuantized, type RawMatrix } from '../../kernels/linear/matrix-store.ts';
import type { Words } from '../../kernels/linear/weight-layouts.ts';
import { widenInto } from '../../weights/dtypes.ts';
import { narrowToBf16, narrowToF16 } from '../../weights/narrow.ts';
import { decodeRows, encodeRows } from '../../weights/quantization.ts';

/** What a checkpoint's matrix may be stored in. */
export const WORDS: readonly Words[] = ['float32', 'bfloat16', 'float16', 'int8', 'int4'];

/** Values [out, in] as a checkpoint has them in these words. */
export function rawMatrix(values: Float32Array, words: Words, outSize: number, inSize: number): RawMatrix {
  const size = { outSize, inSize };
  const bytesOf = ({ buffer, byteOffset, byteLength }: Float32Array | Uint16Array) =>
    new Uint8Array(buffer as ArrayBuffer, byteOffset, byteLength);
  switch (words) {
    case 'float32':
      return { bytes: bytesOf(values), dtype: 'F32', ...size };
    case 'bfloat16':
      return { bytes: bytesOf(narrowToBf16(values)), dtype: 'BF16', ...size };
    case 'float16':
      return { bytes: bytesOf(narrowToF16(values)), dtype: 'F16', ...size };
    default:
      return { format: words, rows: encodeRows(words, values, inSize), ...size };
  }
}

/** The values [out, in] that a matrix stands for. */
export function valuesOf(raw: RawMatrix): Float32Array {
  const values = new Float32Array(raw.outSize * raw.inSize);
  if (isQuantized(raw)) decodeRows(raw.format, raw.rows, raw.inSize, values);
  else widenInto(raw.bytes, raw.dtype, values);
  return values;
}
