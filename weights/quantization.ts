import type { Dtype } from './dtypes.ts';
import { decodeInt4, encodeInt4, int4RowBytes } from './int4-codec.ts';
import { decodeInt8, encodeInt8, int8RowBytes } from './int8-codec.ts';

export { GROUP, INT4_LARGEST } from './int4-scales.ts';

/** Symmetric integers with scales: one scale a row (int8), or one for 32 neighbours of a row (int4). */
export type QuantFormat = 'int8' | 'int4';

/** Rows of a quantised matrix, as they lie in a file. */
export type PackedRows = { readonly codes: Uint8Array; readonly scales: Uint8Array };

/** The dtypes of the two tensors that a matrix becomes. */
export const QUANT_DTYPES: Readonly<Record<QuantFormat, { readonly codes: Dtype; readonly scales: Dtype }>> =
  {
    int8: { codes: 'I8', scales: 'F32' },
    int4: { codes: 'U8', scales: 'F16' },
  };

const codecs = {
  int8: { rowBytes: int8RowBytes, encode: encodeInt8, decode: decodeInt8 },
  int4: { rowBytes: int4RowBytes, encode: encodeInt4, decode: decodeInt4 },
};

/** Bytes that a row of `inSize` weights takes. */
export const quantRowBytes = (format: QuantFormat, inSize: number): { codes: number; scales: number } =>
  codecs[format].rowBytes(inSize);

/**
 * Rows of weights → codes and scales. Each row stands alone, so a matrix may come in parts of any number of rows. A weight
 * comes back within half a scale of what it was; int4: but for the largest of a group, which may be cut.   values: [rows, in], finite
 */
export function encodeRows(format: QuantFormat, values: Float32Array, inSize: number): PackedRows {
  const rows = values.length / inSize;
  const bytes = quantRowBytes(format, inSize);
  const packed = { codes: new Uint8Array(rows * bytes.codes), scales: new Uint8Array(rows * bytes.scales) };
  codecs[format].encode(values, inSize, packed);
  return packed;
}

/** Rows of a quantised matrix from `rowBegin` on, as many as fill `target`, in float32.   target: [rows, in] */
export function decodeRows(
  format: QuantFormat,
  { codes, scales }: PackedRows,
  inSize: number,
  target: Float32Array,
  rowBegin = 0,
): void {
  const bytes = quantRowBytes(format, inSize);
  const rowEnd = rowBegin + target.length / inSize;
  codecs[format].decode(
    {
      codes: codes.subarray(rowBegin * bytes.codes, rowEnd * bytes.codes),
      scales: scales.subarray(rowBegin * bytes.scales, rowEnd * bytes.scales),
    },
    inSize,
    target,
  );
}
