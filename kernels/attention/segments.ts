import { InputError } from '../../src/errors.ts';

/** Neighbouring segments of one length: `count` segments of `length` rows from row `begin`. One batched matmul each. */
export type Run = { readonly begin: number; readonly length: number; readonly count: number };

/** Cumulative segment ends, as in flash-attention's varlen interface: [0, end₁, end₂, …]. */
export type CuSeqlens = readonly number[];

/** Groups neighbouring equal segments. Empty segments hold no rows and are left out. */
export function runsOf(cuSeqlens: CuSeqlens): readonly Run[] {
  const runs: { begin: number; length: number; count: number }[] = [];
  for (let s = 1; s < cuSeqlens.length; s++) {
    const begin = cuSeqlens[s - 1];
    const length = cuSeqlens[s] - begin;
    if (length < 0) throw new InputError(`cuSeqlens must not fall: ${begin} is followed by ${cuSeqlens[s]}`);
    if (length === 0) continue;
    const last = runs[runs.length - 1];
    if (last && last.length === length) last.count++;
    else runs.push({ begin, length, count: 1 });
  }
  return runs;
}

/** [0, l₁, l₁+l₂, …] */
export function cumulate(lengths: readonly number[]): CuSeqlens {
  const ends = [0];
  for (const l of lengths) ends.push(ends[ends.length - 1] + l);
  return ends;
}
