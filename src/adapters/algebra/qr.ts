import { addScaled, dot, norm, scaled, type Vectors } from './vectors.ts';

/** What is left of a vector after its predecessors were taken out, below which it is a combination of them. */
const DEPENDENT = 1e-13;

/** A length whose square underflows has no direction that could be trusted; float32 holds nothing near it. */
const NOTHING = 1e-150;

/** M = Q R. `r[j]` holds the coefficients of column j: column j of M = Σ_{i ≤ j} r[j][i] · q[i]. */
export type Qr = { readonly q: Vectors; readonly r: readonly Float64Array[] };

/**
 * QR by modified Gram-Schmidt, each column orthogonalised twice (Björck 1994: twice is enough). A column that depends on
 * earlier ones gets q = 0 and a zero on the diagonal, so that Q R is M at any rank.   columns: K of length n
 */
export function qr(columns: Vectors): Qr {
  const q: Float64Array[] = [];
  const r: Float64Array[] = [];
  for (const column of columns) {
    const rest = column.slice();
    const coefficients = new Float64Array(columns.length);
    takeOut(rest, q, coefficients);
    takeOut(rest, q, coefficients);
    const left = norm(rest);
    const independent = left > Math.max(NOTHING, DEPENDENT * norm(column));
    if (independent) coefficients[q.length] = left;
    q.push(independent ? scaled(rest, 1 / left) : new Float64Array(rest.length));
    r.push(coefficients);
  }
  return { q, r };
}

function takeOut(rest: Float64Array, q: Vectors, coefficients: Float64Array): void {
  for (let i = 0; i < q.length; i++) {
    const along = dot(q[i], rest);
    coefficients[i] += along;
    if (along !== 0) addScaled(rest, q[i], -along);
  }
}
