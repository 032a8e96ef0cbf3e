import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { expectClose, gaussian } from '../../../test/support/close.ts';
import { randomStream } from '../combine/random-stream.ts';
import type { Svd } from './jacobi.ts';
import { qr } from './qr.ts';
import { denseSvd, productSvd, transposed } from './svd.ts';
import { truncatedSvd } from './truncated-svd.ts';
import { dot, norm, type Vectors } from './vectors.ts';

/** `count` random vectors of a length. */
const vectors = (count: number, length: number, seed: number): Float64Array[] =>
  Array.from({ length: count }, (_, k) => Float64Array.from(gaussian(length, seed * 1000 + k)));

/** Σ left ⊗ right, row by row. */
function product(left: Vectors, right: Vectors): Float64Array {
  const [m, n] = [left[0].length, right[0].length];
  const out = new Float64Array(m * n);
  for (let k = 0; k < left.length; k++)
    for (let i = 0; i < m; i++) for (let j = 0; j < n; j++) out[i * n + j] += left[k][i] * right[k][j];
  return out;
}

const rebuilt = ({ u, s, v }: Svd) =>
  product(
    u.map((c, k) => c.map((x) => x * s[k])),
    v,
  );
const close = (found: ArrayLike<number>, expected: ArrayLike<number>, what: string, relativeToMax = 1e-12) =>
  expectClose(found, expected, { relativeToMax, what });

/** Unit vectors at right angles, those of a zero value apart; values that fall. */
function expectSound({ u, s, v }: Svd, size: number): void {
  expect([...s]).toEqual([...s].sort((a, b) => b - a));
  const live = [...s.keys()].filter((k) => s[k] > 0);
  for (const side of [u, v]) {
    for (const i of live)
      for (const j of live)
        expect(Math.abs(dot(side[i], side[j]) - (i === j ? 1 : 0))).toBeLessThan(1e-11 * size);
  }
}

const size = fc.integer({ min: 1, max: 14 });
const seeds = fc.integer({ min: 1, max: 1e6 });

describe('qr', () => {
  test('Q R is the matrix, at any rank', () =>
    fc.assert(
      fc.property(size, size, seeds, fc.boolean(), (count, length, seed, twice) => {
        const given = vectors(count, length, seed);
        const columns = twice ? [...given, ...given.map((c) => c.map((x) => -3 * x))] : given;
        const { q, r } = qr(columns);
        const back = columns.map((_, j) =>
          Float64Array.from({ length }, (_, i) => q.reduce((sum, c, k) => sum + c[i] * r[j][k], 0)),
        );
        close(
          Float64Array.from(back.flatMap((c) => [...c])),
          columns.flatMap((c) => [...c]),
          'Q R',
        );
        for (const [i, x] of q.entries())
          for (const y of q.slice(0, i)) expect(Math.abs(dot(x, y))).toBeLessThan(1e-12);
      }),
    ));
});

describe('values so small that their squares underflow', () => {
  test('no direction is made of them', () => {
    const [column, far] = vectors(2, 5, 7);
    const { q, r } = qr([column.map((x) => 1.2e-162 * x), far, far.map((x) => 5e-324 * x)]);
    expect([...q[0], ...q[2]].every((x) => x === 0)).toBe(true);
    expect(norm(q[1])).toBeCloseTo(1, 12);
    expect([...r[1]].every(Number.isFinite)).toBe(true);
  });
});

describe('singular values', () => {
  test('of any matrix: it comes back, and both sides are orthonormal', () =>
    fc.assert(
      fc.property(size, size, seeds, (m, n, seed) => {
        const rows = vectors(m, n, seed);
        const found = denseSvd(rows);
        expect(found.s.length).toBe(Math.min(m, n));
        expectSound(found, m + n);
        close(
          rebuilt(found),
          rows.flatMap((r) => [...r]),
          'U S Vᵀ',
        );
      }),
    ));

  test('of a product, without forming it: the same as of the matrix itself', () =>
    fc.assert(
      fc.property(size, size, size, seeds, (count, m, n, seed) => {
        const [left, right] = [vectors(count, m, seed), vectors(count, n, seed + 1)];
        const whole = product(left, right);
        const found = productSvd(left, right);
        expectSound(found, m + n);
        close(rebuilt(found), whole, 'U S Vᵀ');
        const rows = Array.from({ length: m }, (_, i) => whole.slice(i * n, (i + 1) * n));
        const other = denseSvd(rows).s;
        const most = Math.max(count, other.length);
        const padded = (s: Float64Array) => Float64Array.from({ length: most }, (_, k) => s[k] ?? 0);
        close(padded(found.s), padded(other), 's');
      }),
    ));

  test('known ones: a diagonal, a rotation, zeros, values far apart', () => {
    expect([...denseSvd([Float64Array.of(0, -3), Float64Array.of(4, 0)]).s]).toEqual([4, 3]);
    const [c, s] = [Math.cos(0.3), Math.sin(0.3)];
    close(denseSvd([Float64Array.of(c, -s), Float64Array.of(s, c)]).s, [1, 1], 'a rotation');
    expect([...denseSvd([new Float64Array(3), new Float64Array(3)]).s]).toEqual([0, 0]);
    const far = denseSvd([Float64Array.of(1e6, 0, 0), Float64Array.of(0, 1, 0), Float64Array.of(0, 0, 1e-6)]);
    expect([...far.s]).toEqual([1e6, 1, 1e-6]);
  });

  test('signs do not depend on how the matrix is turned: the largest of each u is positive', () => {
    const rows = vectors(9, 6, 5);
    const [a, b] = [denseSvd(rows), denseSvd(rows.map((r) => r.map((x) => -x)))];
    for (const k of a.s.keys()) {
      expect(Math.max(...a.u[k])).toBe(Math.max(...a.u[k].map(Math.abs)));
      close(b.u[k], a.u[k], 'u');
      close(
        b.v[k],
        a.v[k].map((x) => -x),
        'v',
      );
    }
  });
});

describe('the largest singular values of a large matrix', () => {
  /** σ_k = f(k) between random orthonormal sides. */
  function withValues(m: number, n: number, f: (k: number) => number): Vectors {
    const count = Math.min(m, n);
    const [left, right] = [qr(vectors(count, m, 1)).q, qr(vectors(count, n, 2)).q];
    const flat = product(
      left.map((c, k) => c.map((x) => x * f(k))),
      right,
    );
    return Array.from({ length: m }, (_, i) => flat.slice(i * n, (i + 1) * n));
  }

  test.each<[string, (k: number) => number]>([
    ['that fall slowly, as noise does', (k) => 2 - k / 260],
    ['that fall fast', (k) => 0.7 ** k],
    ['of which some are equal', (k) => (k < 4 ? 3 : 1 / (k + 1))],
    ['of low rank', (k) => (k < 5 ? 5 - k : 0)],
  ])('%s', async (_, f) => {
    const rows = withValues(220, 260, f);
    for (const matrix of [rows, transposed(rows)]) {
      const found = await truncatedSvd(matrix, { rank: 8, random: randomStream(1, 'test') });
      expectSound(found, 480);
      const expected = Array.from({ length: 8 }, (_, k) => f(k));
      close(found.s, expected, 'values', 1e-6);
      // Nothing of the matrix is left in these directions.
      const energy = matrix.reduce((sum, r) => sum + dot(r, r), 0);
      const left = rebuilt(found).reduce((sum, x, i) => {
        const d = matrix[Math.floor(i / matrix[0].length)][i % matrix[0].length] - x;
        return sum + d * d;
      }, 0);
      const least = energy - expected.reduce((sum, s) => sum + s * s, 0);
      expect(left - least).toBeLessThan(1e-8 * energy);
    }
  });

  test('an abort ends the search', async () => {
    const rows = withValues(220, 260, (k) => 2 - k / 260);
    const wanted = {
      rank: 8,
      random: randomStream(1, 'test'),
      signal: AbortSignal.abort(new Error('enough')),
    };
    await expect(truncatedSvd(rows, wanted)).rejects.toThrow('enough');
  });
});
