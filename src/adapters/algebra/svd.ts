import { jacobiSvd, type Svd } from './jacobi.ts';
import { qr } from './qr.ts';
import { mixed, scaled, type Vectors } from './vectors.ts';

/**
 * SVD of a matrix that is known as a product, Σ_k left[k] ⊗ right[k], without ever forming it: QR of both factors, SVD of the
 * K × K core between them. Exact, and a few hundred million flops where the whole matrix would take 10¹¹.
 * left: K of length m, right: K of length n → u: K of m, v: K of n
 */
export function productSvd(left: Vectors, right: Vectors): Svd {
  const [l, r] = [qr(left), qr(right)];
  // core = R_left · R_rightᵀ; its column j = Σ_k r_right[k][j] · (column k of R_left).
  const core = l.r.map((_, j) =>
    mixed(
      l.r,
      r.r.map((c) => c[j]),
      left.length,
    ),
  );
  const { u, s, v } = jacobiSvd(core);
  return signed({
    s,
    u: u.map((c) => mixed(l.q, c, left[0]?.length ?? 0)),
    v: v.map((c) => mixed(r.q, c, right[0]?.length ?? 0)),
  });
}

/**
 * Thin SVD of any matrix, given as its rows: QR of the shorter side's vectors, Jacobi on R.
 * Costs about 2·m·n·k for the QR and 60·k³ for the rotations, k = min(m, n): a second at 256 × 256, minutes at 2048 × 2048.
 */
export function denseSvd(rows: Vectors): Svd {
  const [m, n] = [rows.length, rows[0]?.length ?? 0];
  if (m > n) {
    const { u, s, v } = denseSvd(transposed(rows));
    return signed({ u: v, s, v: u });
  }
  // Mᵀ = Q R, so M = Rᵀ Qᵀ; rotations turn the rows of R, which converge sooner than its columns (Drmač and Veselić 2008).
  const { q, r } = qr(rows);
  const { u, s, v } = jacobiSvd(transposed(r)); // R as columns is `r`; Rᵀ as columns is its transpose
  return signed({ s, u, v: v.map((c) => mixed(q, c, n)) });
}

export function transposed(rows: Vectors): Float64Array[] {
  const length = rows[0]?.length ?? 0;
  return Array.from({ length }, (_, j) => Float64Array.from(rows, (row) => row[j]));
}

/** Singular vectors are free to change sign in pairs; here the largest value of each u is positive, on every machine. */
export function signed({ u, s, v }: Svd): Svd {
  const sign = u.map((c) => {
    let largest = 0;
    for (const x of c) if (Math.abs(x) > Math.abs(largest)) largest = x;
    return largest < 0 ? -1 : 1;
  });
  return { s, u: u.map((c, k) => scaled(c, sign[k])), v: v.map((c, k) => scaled(c, sign[k])) };
}
