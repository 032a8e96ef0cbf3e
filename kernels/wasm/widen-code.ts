import {
  andV128,
  atLeastF32x4,
  type Code,
  convertI32x4,
  extendI8,
  extendI16,
  filled,
  get,
  HALVES,
  i32,
  interleave,
  magnitudes,
  mulF32x4,
  orV128,
  shiftRightI8x16,
  shiftRightI32x4,
  subI8x16,
  tee,
  zeroV128,
} from './assembler.ts';

/** How a B of n columns and k rows lies in memory: as [k, n] in float32, or column by column, as [n, k], in one of five types. */
export const LAYOUT = {
  rows: 0,
  columns: 1,
  bfloat16Columns: 2,
  float16Columns: 3,
  int8Columns: 4, //   scale · integer, a float32 scale for each column   (weights/int8-codec.ts)
  int4Columns: 5, //   scale · (nibble − 8), a float16 scale for 32 neighbours   (weights/int4-codec.ts)
} as const;
export type Layout = keyof typeof LAYOUT;
export type ColumnLayout = Exclude<Layout, 'rows'>;

type Numbers = {
  /** Bits of a number. */
  readonly bits: number;
  /** `rows`: how many of a column share one; not given: all of them. */
  readonly scale?: { readonly bytes: 2 | 4; readonly rows?: number };
};

export const NUMBERS: Readonly<Record<ColumnLayout, Numbers>> = {
  columns: { bits: 32 },
  bfloat16Columns: { bits: 16 },
  float16Columns: { bits: 16 },
  int8Columns: { bits: 8, scale: { bytes: 4 } },
  int4Columns: { bits: 4, scale: { bytes: 2, rows: 32 } },
};

/**
 * Rows of numbers, four columns each, one after the other in a vector → vectors of float32, one a row; of nibbles, all lower
 * ones come first. `scale` is the local with the four scales in force, `wide` one that may be written over.
 */
export function widen(
  layout: ColumnLayout,
  numbers: Code,
  { scale, wide }: { scale: number; wide: number },
): readonly Code[] {
  const scaled = (bytes: Code): readonly Code[] =>
    extendI8.flatMap((first) =>
      extendI16.map((second) => mulF32x4(convertI32x4(second(first(bytes))), get(scale))),
    );
  switch (layout) {
    case 'columns':
      return [numbers];
    case 'bfloat16Columns':
      return raised(numbers);
    case 'float16Columns':
      return raised(numbers).map((words) => half(words, wide));
    case 'int8Columns':
      return scaled(numbers);
    case 'int4Columns':
      return [andV128(numbers, filled(15)), shiftRightI8x16(numbers, i32(4))].flatMap((nibbles) =>
        scaled(subI8x16(nibbles, filled(8))),
      );
  }
}

/** Four scales in the lowest lanes of their size → float32. */
export const widenScales = (bytes: 2 | 4, scales: Code, wide: number): Code =>
  bytes === 4 ? scales : half(raised(scales)[0], wide);

/** Eight words → the upper halves of eight 32-bit numbers. */
const raised = (words: Code): readonly Code[] => HALVES.map((half) => interleave(2, half, zeroV128, words));

/**
 * Float16 in the upper halves of 32 bits → float32. The sign is in place, and the exponent becomes 112 too small: a factor
 * mends that, for subnormals too. What was infinite or no number comes out as 2¹⁶ and more.
 */
function half(words: Code, wide: number): Code {
  const small = andV128(shiftRightI32x4(words, i32(3)), filled(0xff, 0xff, 0xff, 0x8f));
  const finite = tee(wide, mulF32x4(small, filled(0, 0, 0x80, 0x77))); // 2¹¹²
  const beyond = atLeastF32x4(magnitudes(get(wide)), filled(0, 0, 0x80, 0x47)); // 2¹⁶
  return orV128(finite, andV128(beyond, filled(0, 0, 0x80, 0x7f)));
}
