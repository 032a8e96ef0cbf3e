/** What may run together: at most this many inputs, and this many tokens (an input above the budget runs alone). */
export type BatchLimits = { readonly batchSize: number; readonly tokenBudget: number };

/**
 * Groups inputs by length, longest first: nothing is ever padded, equal lengths become neighbours (they share one
 * attention matmul), and the largest memory need comes first, so that a run that will not fit fails at its start.
 * → batches of input indices.
 */
export function planBatches(
  lengths: readonly number[],
  { batchSize, tokenBudget }: BatchLimits,
): readonly number[][] {
  const order = lengths.map((_, i) => i).sort((a, b) => lengths[b] - lengths[a] || a - b);
  const batches: number[][] = [];
  let tokens = 0;
  for (const i of order) {
    const open = batches[batches.length - 1];
    if (open && open.length < batchSize && tokens + lengths[i] <= tokenBudget) {
      open.push(i);
      tokens += lengths[i];
    } else {
      batches.push([i]);
      tokens = lengths[i];
    }
  }
  return batches;
}

/** Items with the same key together, groups and items in the order in which they came. */
export function groupBy<T, K>(items: readonly T[], key: (item: T) => K): readonly (readonly T[])[] {
  const groups = new Map<K, T[]>();
  for (const item of items) {
    const group = groups.get(key(item));
    if (group) group.push(item);
    else groups.set(key(item), [item]);
  }
  return [...groups.values()];
}
