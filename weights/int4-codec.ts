import { CheckpointError } from '../src/errors.ts';
import { widenInto } from './dtypes.ts';
import { narrowToF16 } from './narrow.ts';

// 32 neighbours of a row share a scale in float16, and each is `scale · (nibble − 8)`. The scale is the value of largest magnitude,
// with its sign, / −8: that value is met exactly, and all sixteen nibbles are used; with 15 of them and no sign the error of
// normally distributed weights is an eighth larger. (ggml: ggml-quants.c, quantize_row_q4_0_ref)
// Byte j of the 16 holds value j in its lower half and value j + 16 in its upper: sixteen bytes and one mask or shift give
// sixteen neighbours. A row's last group is filled with zeros (nibble 8).

export const GROUP = 32;
const GROUP_BYTES = GROUP / 2;
const ZERO = 8;
/** Largest magnitude that a scale can stand for. */
export const INT4_LARGEST = ZERO * 65504;

const groupsOf = (inSize: number): number => Math.ceil(inSize / GROUP);

export const int4RowBytes = (inSize: number): { codes: number; scales: number } => ({
  codes: groupsOf(inSize) * GROUP_BYTES,
  scales: groupsOf(inSize) * 2,
});

/** values [rows, in] → codes [rows, groups, 16] and scales [rows, groups] float16. */
export function encodeInt4(
  values: Float32Array,
  inSize: number,
  { codes, scales }: { codes: Uint8Array; scales: Uint8Array },
): void {
  const rows = values.length / inSize;
  const groups = groupsOf(inSize);
  const { bits, widened } = scalesOf(values, inSize, rows * groups);
  const padded = new Float32Array(GROUP); // a group that the row's end cuts off, with zeros
  for (let row = 0, group = 0; row < rows; row++) {
    const end = (row + 1) * inSize;
    for (let begin = row * inSize; begin < end; begin += GROUP, group++) {
      const whole = begin + GROUP <= end;
      if (!whole) padded.fill(0).set(values.subarray(begin, end));
      encodeGroup(whole ? values : padded, whole ? begin : 0, widened[group], codes, group * GROUP_BYTES);
    }
  }
  scales.set(new Uint8Array(bits.buffer));
}

function encodeGroup(values: Float32Array, from: number, scale: number, codes: Uint8Array, at: number): void {
  const perStep = scale === 0 ? 0 : 1 / scale;
  for (let j = 0; j < GROUP_BYTES; j++) {
    // Nibbles are not below zero, where cutting off is rounding down. A value as large as the largest, of the other sign,
    // would be 16.
    const low = (values[from + j] * perStep + (ZERO + 0.5)) | 0;
    const high = (values[from + GROUP_BYTES + j] * perStep + (ZERO + 0.5)) | 0;
    codes[at + j] = Math.min(low, 15) | (Math.min(high, 15) << 4);
  }
}

/** float16 bits of every group's scale, and what they stand for. Zero only where all values are. */
function scalesOf(values: Float32Array, inSize: number, count: number) {
  const largest = new Float32Array(count);
  for (let begin = 0, group = 0; group < count; group++) {
    const rowEnd = (Math.floor(begin / inSize) + 1) * inSize;
    const end = Math.min(begin + GROUP, rowEnd);
    let most = 0;
    for (let i = begin; i < end; i++) if (Math.abs(values[i]) > Math.abs(most)) most = values[i];
    largest[group] = most;
    begin = end;
  }
  const bits = narrowToF16(largest.map((x) => (x === 0 ? 0 : x / -ZERO)));
  const widened = new Float32Array(count);
  widenInto(new Uint8Array(bits.buffer), 'F16', widened);
  for (let group = 0; group < count; group++) {
    if (Math.abs(largest[group]) > INT4_LARGEST) {
      throw new CheckpointError(
        `${largest[group]} is beyond what int4 can scale (±${INT4_LARGEST}); use int8`,
      );
    }
    // Among the smallest float16 numbers rounding to nearest can halve a scale, or lose it: then the next larger one.
    if (Math.abs(largest[group]) > (ZERO + 0.49) * Math.abs(widened[group])) {
      bits[group]++;
      widenInto(new Uint8Array(bits.buffer, 2 * group, 2), 'F16', widened, group);
    }
  }
  return { bits, widened };
}

/** The inverse: rows that fill `target` [rows, in]. */
export function decodeInt4(
  { codes, scales }: { codes: Uint8Array; scales: Uint8Array },
  inSize: number,
  target: Float32Array,
): void {
  const rows = target.length / inSize;
  const widened = new Float32Array(rows * groupsOf(inSize));
  widenInto(scales, 'F16', widened);
  for (let row = 0, group = 0; row < rows; row++) {
    const end = (row + 1) * inSize;
    for (let at = row * inSize; at < end; at += GROUP, group++) {
      const scale = widened[group];
      const from = group * GROUP_BYTES;
      const low = Math.min(GROUP_BYTES, end - at);
      const high = Math.min(GROUP_BYTES, end - at - GROUP_BYTES);
      for (let j = 0; j < low; j++) target[at + j] = ((codes[from + j] & 15) - ZERO) * scale;
      for (let j = 0; j < high; j++) target[at + GROUP_BYTES + j] = ((codes[from + j] >> 4) - ZERO) * scale;
    }
  }
}
