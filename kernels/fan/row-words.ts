import type { LoraTerm } from '../linear/linear.ts';
import type { Matrix } from '../linear/matrix.ts';
import { isRows, type RowMatrix } from '../linear/webgpu-store.ts';
import type { Element } from '../webgpu/shader.ts';

/** What these shaders read. */
const WORDS = ['float32', 'bfloat16'] as const;

export type Words = (typeof WORDS)[number];

/** What rows of such words are in WGSL, four values at a time. */
export const elementOf = (words: Words): Element => (words === 'bfloat16' ? 'vec2<u32>' : 'vec4<f32>');

/** WGSL: `name(n, c)`, values 4·c … 4·c + 3 of row n of `buffer`, whose rows have `fours` of them. */
export const readFours = (name: string, words: Words, buffer: string, fours: string): string => `
fn ${name}(n : u32, c : u32) -> vec4<f32> {
  ${words === 'bfloat16' ? `return widened(${buffer}[n * ${fours} + c]);` : `return ${buffer}[n * ${fours} + c];`}
}`;

/** WGSL: two words of bfloat16, the lower half first. */
export const widenCode = `
fn widened(w : vec2<u32>) -> vec4<f32> {
  return bitcast<vec4<f32>>(vec4<u32>(w.x << 16u, w.x & 0xffff0000u, w.y << 16u, w.y & 0xffff0000u));
}`;

/** The words that all these matrices are stored in, each in one buffer; null when they are not. */
export function sameWords(matrices: readonly Matrix[]): Words | null {
  const known = WORDS.find((words) =>
    matrices.every((m) => isRows(m) && m.parts.length === 1 && m.words === words),
  );
  return matrices.length > 0 && known ? known : null;
}

/** The buffer of a matrix that `sameWords` has looked at. */
export const rowsOf = (matrix: Matrix) => (matrix as RowMatrix).parts[0].tensor;

export const downs = (terms: readonly LoraTerm[]): readonly Matrix[] => terms.map(({ a }) => a);
export const ups = (terms: readonly LoraTerm[]): readonly Matrix[] => terms.map(({ b }) => b);
