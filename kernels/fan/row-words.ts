import type { LoraTerm } from '../linear/linear.ts';
import type { Matrix } from '../linear/matrix.ts';
import { isRows, type RowMatrix } from '../linear/webgpu-store.ts';
import * as layouts from '../linear/weight-layouts.ts';
import type { Element } from '../webgpu/shader.ts';

export type { Words } from '../linear/weight-layouts.ts';

/** What the matrices of a low-rank term are: adapters are not quantised. */
export type FloatWords = Exclude<layouts.Words, layouts.IntegerWords>;

/** What rows of such words are in WGSL. */
export const elementOf = (words: layouts.Words): Element => layouts.elementOf(`${words}Rows`);

/** WGSL: `name(n, c)`, values 4·c … 4·c + 3 of row n of `buffer`, which has so many rows of so many fours. */
export const readRows = (
  name: string,
  words: layouts.Words,
  { buffer, fours, rows }: Readonly<Record<'buffer' | 'fours' | 'rows', string>>,
): string => layouts.readFours(name, `${words}Rows`, { buffer, fours, rows, columns: `4u * ${fours}` });

/** The words of each of these matrices; null when one is not in one buffer of rows. */
export function wordsOf(matrices: readonly Matrix[]): readonly layouts.Words[] | null {
  const rows = matrices.filter(isRows).filter(({ parts }) => parts.length === 1);
  return rows.length === matrices.length ? rows.map(({ words }) => words) : null;
}

/** The words that all these matrices of low-rank terms are stored in; null when they are not alike, or there are none. */
export function sameFloats(matrices: readonly Matrix[]): FloatWords | null {
  const [first, ...others] = wordsOf(matrices) ?? [];
  if (first === undefined || layouts.isIntegers(first)) return null;
  return others.every((words) => words === first) ? first : null;
}

/** The buffer of a matrix that `wordsOf` has looked at. */
export const rowsOf = (matrix: Matrix) => (matrix as RowMatrix).parts[0].tensor;

export const downs = (terms: readonly LoraTerm[]): readonly Matrix[] => terms.map(({ a }) => a);
export const ups = (terms: readonly LoraTerm[]): readonly Matrix[] => terms.map(({ b }) => b);
