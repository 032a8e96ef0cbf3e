import { widenInto } from './dtypes.ts';

// A row [in] is `scale · code`, code in −127 … 127, scale the row's largest magnitude / 127 in float32.

const STEPS = 127;
// Below the smallest normal float32 a scale loses its own digits, and codes would leave their range.
const LEAST_SCALE = 2 ** -126;

export const int8RowBytes = (inSize: number): { codes: number; scales: number } => ({
  codes: inSize,
  scales: 4,
});

/** values [rows, in] → codes [rows, in] and scales [rows] float32. */
export function encodeInt8(
  values: Float32Array,
  inSize: number,
  { codes, scales }: { codes: Uint8Array; scales: Uint8Array },
): void {
  const own = new Float32Array(values.length / inSize);
  const signed = new Int8Array(codes.buffer, codes.byteOffset, codes.length);
  for (let row = 0; row < own.length; row++) {
    const begin = row * inSize;
    const end = begin + inSize;
    let largest = 0;
    for (let i = begin; i < end; i++) {
      const magnitude = Math.abs(values[i]);
      if (magnitude > largest) largest = magnitude;
    }
    if (largest === 0) continue; // scale 0, codes 0
    own[row] = Math.max(largest / STEPS, LEAST_SCALE);
    const perStep = 1 / own[row];
    // Above zero, cutting off is rounding down, and the cheapest way to a whole number there is.
    for (let i = begin; i < end; i++) signed[i] = ((values[i] * perStep + 128.5) | 0) - 128;
  }
  scales.set(new Uint8Array(own.buffer));
}

/** The inverse: rows that fill `target` [rows, in]. */
export function decodeInt8(
  { codes, scales }: { codes: Uint8Array; scales: Uint8Array },
  inSize: number,
  target: Float32Array,
): void {
  const own = new Float32Array(target.length / inSize);
  widenInto(scales, 'F32', own);
  const signed = new Int8Array(codes.buffer, codes.byteOffset, codes.length);
  for (let row = 0; row < own.length; row++) {
    const scale = own[row];
    const end = (row + 1) * inSize;
    for (let i = row * inSize; i < end; i++) target[i] = signed[i] * scale;
  }
}
