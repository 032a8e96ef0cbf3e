import { CheckpointError } from '../src/errors.ts';
import { widenInto } from './dtypes.ts';
import { narrowToF16 } from './narrow.ts';

// A group's scale is the one with the least squared error among six. The value of largest magnitude becomes −8 (it is met, and
// all sixteen codes are used), or −7 (its opposite is met, too), or lies between codes, or beyond −8 and is cut; each time the
// scale is fitted to the codes by least squares. Of normally distributed weights that leaves 8.12 % error, −8 alone 8.60 %, a
// hundred trials of both signs 8.09 %. (the idea: ggml-quants.c, make_qx_quants)

export const GROUP = 32;
/** The nibble of a weight of zero. */
export const ZERO = 8;
const LARGEST_SCALE = 65504; // of float16
/** Largest magnitude that a scale can stand for. */
export const INT4_LARGEST = ZERO * LARGEST_SCALE;

/** What the largest value is tried as; −8 first, which wins where others are no better. */
const TRIED = Float64Array.of(-8, -7, -8.9, -8.5, -7.5, -6.5);
// So much beyond −8 no fit puts the largest value.
const BEYOND = 9.5;

/** Scales of groups in float16, and what they stand for. A group is `GROUP` neighbours of a row, or what is left of it. */
export type Int4Scales = { readonly bits: Uint16Array; readonly widened: Float32Array };

/** values [rows, in] → a scale a group [rows, groups]; zero only where all values are. */
export function int4Scales(values: Float32Array, inSize: number): Int4Scales {
  const count = (values.length / inSize) * Math.ceil(inSize / GROUP);
  const largest = new Float32Array(count);
  const scales = new Float32Array(count);
  for (let begin = 0, group = 0, left = inSize; group < count; group++) {
    const end = begin + Math.min(GROUP, left);
    largest[group] = largestOf(values, begin, end);
    if (largest[group] !== 0) scales[group] = bestScale(values, begin, end, largest[group]);
    left = left > GROUP ? left - GROUP : inSize;
    begin = end;
  }
  const bits = narrowToF16(scales);
  const widened = new Float32Array(count);
  widenInto(new Uint8Array(bits.buffer), 'F16', widened);
  for (let group = 0; group < count; group++) {
    // Among the smallest float16 numbers rounding to nearest can halve a scale, or lose it: then the next larger one.
    if (Math.abs(largest[group]) > BEYOND * Math.abs(widened[group])) {
      bits[group]++;
      widenInto(new Uint8Array(bits.buffer, 2 * group, 2), 'F16', widened, group);
    }
  }
  return { bits, widened };
}

function largestOf(values: Float32Array, begin: number, end: number): number {
  let most = 0;
  for (let i = begin; i < end; i++) if (Math.abs(values[i]) > Math.abs(most)) most = values[i];
  if (Math.abs(most) <= INT4_LARGEST) return most;
  throw new CheckpointError(`${most} is beyond what int4 can scale (±${INT4_LARGEST}); use int8`);
}

/**
 * With codes l of weights w a scale s takes s (2 Σ w l − s Σ l²) off Σ w²; the best is Σ w l / Σ l², or the largest that float16 has.
 */
function bestScale(values: Float32Array, begin: number, end: number, largest: number): number {
  let best = 0;
  let scale = largest / -ZERO;
  for (let t = 0; t < TRIED.length; t++) {
    const perStep = TRIED[t] / largest;
    let products = 0;
    let squares = 0;
    for (let i = begin; i < end; i++) {
      const w = values[i];
      const nibble = (w * perStep + (ZERO + 0.5)) | 0; // not below zero: −0.4 is cut to 0
      const code = (nibble > 15 ? 15 : nibble) - ZERO;
      products += w * code;
      squares += code * code;
    }
    const fitted = Math.min(Math.max(products / squares, -LARGEST_SCALE), LARGEST_SCALE);
    const taken = fitted * (2 * products - fitted * squares);
    if (taken > best) {
      best = taken;
      scale = fitted;
    }
  }
  return scale;
}
