/** How the sign of an entry is elected: by the sum of the values, or by a vote in which each counts the same. */
export const MAJORITY_SIGNS = ['total', 'frequency'] as const;
export type MajoritySign = (typeof MAJORITY_SIGNS)[number];

/** Σ weights[i] · tensors[i], entry by entry.   (peft: utils/merge_utils.py, task_arithmetic) */
export function weightedSum(tensors: readonly Float32Array[], weights: readonly number[]): Float32Array {
  return Float32Array.from(tensors[0], (_, i) => {
    let sum = 0;
    for (let k = 0; k < tensors.length; k++) sum += weights[k] * tensors[k][i];
    return sum;
  });
}

/**
 * TIES: every entry elects a sign, from the tensors before they are weighted (no majority is a plus), and takes the mean of
 * the weighted values that have it.   (Yadav et al. 2023; peft: utils/merge_utils.py, ties, disjoint_merge)
 */
export function electedMean(
  tensors: readonly Float32Array[],
  weights: readonly number[],
  majority: MajoritySign,
): Float32Array {
  return Float32Array.from(tensors[0], (_, i) => {
    let vote = 0;
    for (const t of tensors) vote += majority === 'total' ? t[i] : Math.sign(t[i]);
    const sign = vote >= 0 ? 1 : -1;
    let sum = 0;
    let agreeing = 0;
    for (let k = 0; k < tensors.length; k++) {
      if (Math.sign(tensors[k][i]) !== sign) continue;
      sum += weights[k] * tensors[k][i];
      agreeing++;
    }
    return sum / Math.max(agreeing, 1);
  });
}
