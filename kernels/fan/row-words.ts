import type { LoraTerm } from '../linear/linear.ts';
import type { Matrix } from '../linear/matrix.ts';
import { isRows, type RowMatrix } from '../linear/webgpu-store.ts';
import type { Words } from '../linear/weight-layouts.ts';

// A low-rank term is never quantised.
const TERM_WORDS = ['float32', 'bfloat16'] as const;

export type TermWords = (typeof TERM_WORDS)[number];

/** The words that all these matrices are stored in, each in one buffer; null when they are not. */
export function sameWords(matrices: readonly Matrix[]): Words | null {
  const rows = matrices.filter(isRows);
  const alike = rows.every(({ parts, words }) => parts.length === 1 && words === rows[0].words);
  return alike && rows.length > 0 && rows.length === matrices.length ? rows[0].words : null;
}

/** The same of matrices of low-rank terms, where shaders read such words. */
export const termWords = (matrices: readonly Matrix[]): TermWords | null =>
  TERM_WORDS.find((words) => words === sameWords(matrices)) ?? null;

/** The buffer of a matrix that `sameWords` has looked at. */
export const rowsOf = (matrix: Matrix) => (matrix as RowMatrix).parts[0].tensor;

export const downs = (terms: readonly LoraTerm[]): readonly Matrix[] => terms.map(({ a }) => a);
export const ups = (terms: readonly LoraTerm[]): readonly Matrix[] => terms.map(({ b }) => b);
