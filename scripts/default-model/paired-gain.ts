/** A score of one query. Queries about the same emoji are not independent of each other: `cluster` tells them. */
export type QueryScore = { readonly cluster: number; readonly score: number };

/** A mean difference, and half the width of its 95 % interval. */
export type Gain = { readonly mean: number; readonly half: number };

/**
 * By how much the same queries score better: the mean of their differences, with a standard error over clusters (Liang and Zeger
 * 1986). Both lists in the same order.
 */
export function pairedGain(before: readonly QueryScore[], after: readonly QueryScore[]): Gain {
  const differences = after.map(({ score }, i) => score - before[i].score);
  const mean = differences.reduce((sum, d) => sum + d, 0) / differences.length;
  const sums = new Map<number, number>();
  for (const [i, { cluster }] of before.entries())
    sums.set(cluster, (sums.get(cluster) ?? 0) + differences[i] - mean);
  const n = sums.size;
  const squares = [...sums.values()].reduce((sum, s) => sum + s * s, 0);
  const error = Math.sqrt((squares * n) / (n - 1)) / differences.length;
  return { mean, half: 1.96 * error };
}
