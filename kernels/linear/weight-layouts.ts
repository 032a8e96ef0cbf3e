import type { Element } from '../webgpu/shader.ts';

/** What the numbers of a matrix are on the GPU. */
export type Words = 'float32' | HalfWords | IntegerWords;
export type HalfWords = 'bfloat16' | 'float16';
/** Codes with scales behind them. */
export type IntegerWords = 'int8' | 'int4';

export const isIntegers = (words: Words): words is IntegerWords => words === 'int8' || words === 'int4';

/**
 * How the four values of one output, from column 4·c of its row on, lie in memory. `…Rows`: row by row as in the checkpoint,
 * padded to fours of values; behind the rows of integers their scales, in the same buffer, since WebGPU guarantees eight only.
 * `float32Columns`: a tensor [in, out].
 */
export type WeightLayout = `${Words}Rows` | 'float32Columns';

/** What a buffer of a layout is in WGSL. */
export const elementOf = (layout: WeightLayout): Element => ELEMENTS[layout];

const ELEMENTS: Readonly<Record<WeightLayout, Element>> = {
  float32Rows: 'vec4<f32>',
  bfloat16Rows: 'vec2<u32>',
  float16Rows: 'vec2<u32>',
  int8Rows: 'u32',
  int4Rows: 'u32',
  float32Columns: 'f32',
};

/** WGSL: the four values in `w`, two words of 16-bit floats, the lower half first. */
export const widened = (words: HalfWords, w: string): string =>
  words === 'bfloat16'
    ? `bitcast<vec4<f32>>(vec4<u32>(${w}.x << 16u, ${w}.x & 0xffff0000u, ${w}.y << 16u, ${w}.y & 0xffff0000u))`
    : `vec4<f32>(unpack2x16float(${w}.x), unpack2x16float(${w}.y))`;

/** WGSL of a matrix's sizes: fours of values in a row, columns that hold any, and rows of the buffer. */
export type WeightSizes = Readonly<Record<'fours' | 'columns' | 'rows', string>>;

/**
 * WGSL: `name(n, c)`, values 4·c … 4·c + 3 of row n of `buffer`, for n below `rows` and c below `fours`. Exactly the float32
 * values that the same bytes become on every other backend. Needs no feature of the GPU: 16-bit floats and integers are taken
 * out of words.
 */
export const readFours = (
  name: string,
  layout: WeightLayout,
  { buffer, fours, columns, rows }: WeightSizes & { readonly buffer: string },
): string => {
  const body: Readonly<Record<WeightLayout, string>> = {
    float32Rows: `return ${buffer}[n * ${fours} + c];`,
    bfloat16Rows: `let w = ${buffer}[n * ${fours} + c];
  return ${widened('bfloat16', 'w')};`,
    float16Rows: `let w = ${buffer}[n * ${fours} + c];
  return ${widened('float16', 'w')};`,
    // A float32 scale a row.   (weights/int8-codec.ts)
    int8Rows: `let w = ${buffer}[n * ${fours} + c];
  let codes = bitcast<vec4<i32>>(vec4<u32>(w << 24u, w << 16u, w << 8u, w)) >> vec4<u32>(24u);
  return vec4<f32>(codes) * bitcast<f32>(${buffer}[${rows} * ${fours} + n]);`,
    // Four words and a float16 scale a group of eight fours: byte j holds value j and, above it, value j + 16.
    // (weights/int4-codec.ts)
    int4Rows: `let groups = (${fours} + 7u) / 8u;
  let g = n * groups + c / 8u;
  let w = ${buffer}[4u * g + c % 4u] >> (c & 4u);
  let codes = vec4<u32>(w, w >> 8u, w >> 16u, w >> 24u) & vec4<u32>(15u);
  let scales = unpack2x16float(${buffer}[4u * ${rows} * groups + g / 2u]);
  return (vec4<f32>(codes) - 8.0) * select(scales.x, scales.y, g % 2u == 1u);`,
    float32Columns: `var v = vec4<f32>();
  for (var i = 0u; i < 4u; i++) {
    if (4u * c + i < ${columns}) { v[i] = ${buffer}[(4u * c + i) * ${rows} + n]; }
  }
  return v;`,
  };
  return `
fn ${name}(n : u32, c : u32) -> vec4<f32> {
  ${body[layout]}
}`;
};
