import { dot, norm, scaled, type Vectors } from './vectors.ts';

/** M = Σ_k s[k] · u[k] ⊗ v[k], s falling. Where s[k] is 0, u[k] is 0: such a direction carries nothing. */
export type Svd = { readonly u: Vectors; readonly s: Float64Array; readonly v: Vectors };

const EPSILON = 2 ** -52;
const SWEEPS = 60;

/**
 * Singular value decomposition by one-sided Jacobi rotations (Hestenes 1958; Demmel and Veselić 1992): pairs of columns are
 * turned until all are orthogonal; their lengths are the singular values, accurate also where they are small.
 * About 10 sweeps of 6·n·K² flops.   columns: K of length n ≥ K → u: K of n, v: K of K
 */
export function jacobiSvd(columns: Vectors): Svd {
  const count = columns.length;
  const w = columns.map((c) => c.slice());
  const v = columns.map((_, i) => Float64Array.from({ length: count }, (_, j) => (i === j ? 1 : 0)));
  const floor = (EPSILON * Math.max(0, ...w.map(norm))) ** 2;
  for (let sweep = 0; sweep < SWEEPS && turnAll(w, v, floor); sweep++);
  const lengths = w.map(norm);
  const order = lengths.map((_, k) => k).sort((a, b) => lengths[b] - lengths[a]);
  const least = EPSILON * count * (lengths[order[0]] ?? 0);
  return {
    s: Float64Array.from(order, (k) => (lengths[k] > least ? lengths[k] : 0)),
    u: order.map((k) => scaled(w[k], lengths[k] > least ? 1 / lengths[k] : 0)),
    v: order.map((k) => v[k]),
  };
}

/** One sweep over all pairs; false when none had to be turned. */
function turnAll(w: readonly Float64Array[], v: readonly Float64Array[], floor: number): boolean {
  let turned = false;
  for (let p = 0; p < w.length - 1; p++) {
    for (let q = p + 1; q < w.length; q++) {
      const pp = dot(w[p], w[p]);
      const qq = dot(w[q], w[q]);
      const pq = dot(w[p], w[q]);
      // A column of rounding dust is parallel to another for ever.
      if (Math.abs(pq) <= 4 * EPSILON * Math.sqrt(pp * qq) || pp <= floor || qq <= floor) continue;
      turned = true;
      const zeta = (qq - pp) / (2 * pq);
      const t = (zeta >= 0 ? 1 : -1) / (Math.abs(zeta) + Math.sqrt(1 + zeta * zeta));
      const c = 1 / Math.sqrt(1 + t * t);
      turn(w[p], w[q], c, c * t);
      turn(v[p], v[q], c, c * t);
    }
  }
  return turned;
}

function turn(x: Float64Array, y: Float64Array, c: number, s: number): void {
  for (let i = 0; i < x.length; i++) {
    const [a, b] = [x[i], y[i]];
    x[i] = c * a - s * b;
    y[i] = s * a + c * b;
  }
}
