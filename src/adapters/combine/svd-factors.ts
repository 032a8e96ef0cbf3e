import type { Svd } from '../algebra/jacobi.ts';

/** The two matrices of a LoRA.   a: [in, R], b: [R, out], row by row */
export type PlainPair = { readonly a: Float32Array; readonly b: Float32Array; readonly rank: number };

/**
 * ΔWᵀ = Σ s u ⊗ v [in, out] → a = U [in, R], b = S Vᵀ [R, out]: the values go to the out side, as in PEFT, where B = U_r S_r
 * of ΔW. Directions that carry nothing are left out, but one stays.
 */
export function svdFactors({ u, s, v }: Svd, most: number): PlainPair {
  const rank = Math.max(1, Math.min(most, s.filter((x) => x > 0).length));
  const a = new Float32Array(rank * u[0].length);
  for (let r = 0; r < rank; r++) for (let i = 0; i < u[r].length; i++) a[i * rank + r] = u[r][i];
  const outSize = v[0].length;
  const b = new Float32Array(rank * outSize);
  for (let r = 0; r < rank; r++) for (let o = 0; o < outSize; o++) b[r * outSize + o] = s[r] * v[r][o];
  return { a, b, rank };
}

/**
 * Both matrices clamped to ± the quantile of all their values together.   (peft: `clamp` of
 * _svd_generalized_task_arithmetic_weighted_adapter; as there, the quantile is of signed values)
 */
export function clampPair({ a, b, rank }: PlainPair, quantile: number): PlainPair {
  const all = new Float32Array(a.length + b.length);
  all.set(a);
  all.set(b, a.length);
  const limit = quantileOf(all.sort(), quantile);
  const clamp = (x: number) => Math.min(limit, Math.max(-limit, x));
  return { a: a.map(clamp), b: b.map(clamp), rank };
}

/** With linear interpolation, as torch.quantile. */
function quantileOf(sorted: Float32Array, quantile: number): number {
  const at = quantile * (sorted.length - 1);
  const low = Math.floor(at);
  const high = Math.min(low + 1, sorted.length - 1);
  return sorted[low] + (at - low) * (sorted[high] - sorted[low]);
}
