import { widenInto } from './dtypes.ts';
import { GROUP, int4Scales, ZERO } from './int4-scales.ts';

// 32 neighbours of a row share a scale in float16 (int4-scales.ts), and each is `scale · (nibble − 8)`.
// Byte j of the 16 holds value j in its lower half and value j + 16 in its upper: sixteen bytes and one mask or shift give
// sixteen neighbours. A row's last group is filled with zeros (nibble 8).

const GROUP_BYTES = GROUP / 2;

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
  const { bits, widened } = int4Scales(values, inSize);
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

/** Rounded to the nearest of the sixteen. Above zero, cutting off is rounding down. */
export function nibbleOf(steps: number): number {
  const nibble = (steps + (ZERO + 0.5)) | 0;
  return nibble < 0 ? 0 : nibble > 15 ? 15 : nibble;
}

function encodeGroup(values: Float32Array, from: number, scale: number, codes: Uint8Array, at: number): void {
  const perStep = scale === 0 ? 0 : 1 / scale;
  for (let j = 0; j < GROUP_BYTES; j++) {
    codes[at + j] =
      nibbleOf(values[from + j] * perStep) | (nibbleOf(values[from + GROUP_BYTES + j] * perStep) << 4);
  }
}

/** The codes of a matrix of zeros, to put others into. */
export const zeroCodes = (rows: number, inSize: number): Uint8Array =>
  new Uint8Array(rows * groupsOf(inSize) * GROUP_BYTES).fill(ZERO | (ZERO << 4));

/** Value j of a group, for codes that have none there yet. */
export function putNibble(codes: Uint8Array, group: number, j: number, nibble: number): void {
  codes[group * GROUP_BYTES + (j % GROUP_BYTES)] ^= (nibble ^ ZERO) << (j < GROUP_BYTES ? 0 : 4);
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
