import { jacobiSvd, type Svd } from './jacobi.ts';
import { qr } from './qr.ts';
import { denseSvd, signed } from './svd.ts';
import { addScaled, dot, mixed, norm, scaled, type Vectors } from './vectors.ts';

/** Below this many vectors on the shorter side the whole decomposition is the quickest. */
const SMALL = 192;

/** Vectors a block has beyond the rank that is wanted. */
const MORE = 8;

/** The search ends when another block adds no more than this part to the energy (Σ s²) that the wanted directions hold. */
const SETTLED = 1e-10;

type Wanted = {
  readonly rank: number;
  /** Seeded uniform numbers in [0, 1), for the first directions. */
  readonly random: () => number;
  readonly signal?: AbortSignal;
};

/**
 * The `rank` largest singular values of a matrix given as its rows, with their vectors: a block Krylov method (Musco and
 * Musco 2015), which needs no gap between the values. Every product with the matrix costs 4·m·n·(rank + 8) flops and there
 * are about ten; the whole decomposition would take n³. Small matrices are decomposed whole.
 */
export async function truncatedSvd(rows: Vectors, { rank, random, signal }: Wanted): Promise<Svd> {
  const [m, n] = [rows.length, rows[0]?.length ?? 0];
  const shorter = Math.min(m, n);
  if (shorter <= SMALL || 4 * (rank + MORE) > shorter) return first(denseSvd(rows), rank);
  const q: Float64Array[] = []; // orthonormal, of length n
  const w: Float64Array[] = []; // M q, of length m
  let block: Vectors = Array.from({ length: rank + MORE }, () =>
    Float64Array.from({ length: n }, () => random() - 0.5),
  );
  let energy = 0;
  for (;;) {
    const fresh = newDirections(block, q);
    q.push(...fresh);
    w.push(...products(rows, fresh));
    const found = inBasis(q, w);
    const next = found.s.subarray(0, rank).reduce((sum, s) => sum + s * s, 0);
    // Fewer new directions than asked for: the basis spans all that the matrix does.
    if (fresh.length < block.length || q.length >= shorter || next - energy <= SETTLED * next)
      return first(found, rank);
    energy = next;
    await new Promise((resolve) => setTimeout(resolve)); // an abort gets its turn
    signal?.throwIfAborted();
    block = turnedProducts(rows, w.slice(-fresh.length));
  }
}

/** SVD of M restricted to the basis: M Q = W, W = U S Xᵀ, so M ≈ U S (Q X)ᵀ. */
function inBasis(q: Vectors, w: Vectors): Svd {
  const { q: qw, r } = qr(w);
  const { u, s, v } = jacobiSvd(r);
  return signed({
    s,
    u: u.map((c) => mixed(qw, c, w[0].length)),
    v: v.map((c) => mixed(q, c, q[0].length)),
  });
}

/** What in `block` is orthogonal to `basis` and to each other, at unit length. */
function newDirections(block: Vectors, basis: Vectors): Float64Array[] {
  const fresh: Float64Array[] = [];
  for (const vector of block) {
    const size = norm(vector);
    const rest = vector.slice();
    for (let twice = 0; twice < 2; twice++) {
      for (const known of [...basis, ...fresh]) addScaled(rest, known, -dot(known, rest));
    }
    const left = norm(rest);
    if (left > 1e-12 * size) fresh.push(scaled(rest, 1 / left));
  }
  return fresh;
}

/** M x for every x: each row is read once for the whole block. */
function products(rows: Vectors, xs: Vectors): Float64Array[] {
  const out = xs.map(() => new Float64Array(rows.length));
  for (let i = 0; i < rows.length; i++) for (let k = 0; k < xs.length; k++) out[k][i] = dot(rows[i], xs[k]);
  return out;
}

/** Mᵀ y for every y. */
function turnedProducts(rows: Vectors, ys: Vectors): Float64Array[] {
  const out = ys.map(() => new Float64Array(rows[0].length));
  for (let i = 0; i < rows.length; i++) {
    for (let k = 0; k < ys.length; k++) addScaled(out[k], rows[i], ys[k][i]);
  }
  return out;
}

const first = ({ u, s, v }: Svd, rank: number): Svd => ({
  u: u.slice(0, rank),
  s: s.slice(0, rank),
  v: v.slice(0, rank),
});
