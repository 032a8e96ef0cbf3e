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

/** The words that all these matrices are stored in, each in one buffer; null when they are not. */
export function sameWords(matrices: readonly Matrix[]): layouts.Words | null {
  const [first] = matrices;
  if (!first || !isRows(first)) return null;
  const alike = (m: Matrix) => isRows(m) && m.parts.length === 1 && m.words === first.words;
  return matrices.every(alike) ? first.words : null;
}

/** The same of matrices of low-rank terms. */
export function sameFloats(matrices: readonly Matrix[]): FloatWords | null {
  const words = sameWords(matrices);
  return words !== null && !layouts.isIntegers(words) ? words : null;
}

/** The buffer of a matrix that `sameWords` has looked at. */
export const rowsOf = (matrix: Matrix) => (matrix as RowMatrix).parts[0].tensor;

export const downs = (terms: readonly LoraTerm[]): readonly Matrix[] => terms.map(({ a }) => a);
export const ups = (terms: readonly LoraTerm[]): readonly Matrix[] => terms.map(({ b }) => b);
