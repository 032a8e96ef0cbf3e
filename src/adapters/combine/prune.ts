/**
 * The ⌊density · n⌋ values that are largest in size; the others become 0. Of equals the first stay.
 * (peft: utils/merge_utils.py, magnitude_based_pruning)
 */
export function keepLargest(values: Float32Array, density: number): Float32Array {
  const count = Math.trunc(density * values.length);
  if (count >= values.length) return values;
  const kept = new Float32Array(values.length);
  if (count === 0) return kept;
  const sizes = values.map(Math.abs).sort();
  const least = sizes[values.length - count];
  let above = 0;
  for (let i = values.length - 1; sizes[i] > least; i--) above++;
  let equals = count - above;
  for (let i = 0; i < values.length; i++) {
    const size = Math.abs(values[i]);
    if (size > least || (size === least && equals-- > 0)) kept[i] = values[i];
  }
  return kept;
}

/**
 * Each value stays with probability `density`, and is divided by it, so that the expected value stays the same.
 * (Yu et al. 2023, DARE; peft: utils/merge_utils.py, random_pruning)
 */
export const keepAtRandom = (values: Float32Array, density: number, random: () => number): Float32Array =>
  density >= 1 ? values : values.map((v) => (random() < density ? v / density : 0));
