import { InputError } from '../errors.ts';
import { fromFloat16, type Vector } from './quantize.ts';

/** One vector, or one row a token (late interaction). */
export type Embedding = Vector | readonly Vector[];

/** `cosine` and `dot` compare single vectors (bytes are read as `uint8`), `hamming` packed bits, `maxsim` multi-vectors: Σᵢ maxⱼ qᵢ·pⱼ (ColBERT). */
export type Metric = 'cosine' | 'dot' | 'hamming' | 'maxsim';

/** Similarity of two embeddings. Default metric: cosine, or maxsim where both are multi-vectors. */
export function similarityOf(
  a: Embedding,
  b: Embedding,
  metric: Metric = isMulti(a) ? 'maxsim' : 'cosine',
): number {
  if (isMulti(a) !== isMulti(b)) {
    throw new InputError(
      'a single vector cannot be compared with a multi-vector; embed both with the same returnMultivector',
    );
  }
  if (isMulti(a) && isMulti(b)) {
    if (metric !== 'maxsim')
      throw new InputError(`metric "${metric}" compares single vectors; use "maxsim" for multi-vectors`);
    return maxSim(a, b);
  }
  if (metric === 'maxsim')
    throw new InputError('metric "maxsim" needs multi-vectors; embed with returnMultivector: true');
  sameWidth(a as Vector, b as Vector);
  if (metric === 'hamming') return hamming(a as Vector, b as Vector);
  const [x, y] = [numbersOf(a as Vector), numbersOf(b as Vector)];
  const product = dot(x, y);
  if (metric === 'dot') return product;
  const scale = Math.sqrt(dot(x, x)) * Math.sqrt(dot(y, y));
  return scale === 0 ? 0 : product / scale;
}

/** All pairs: row i, column j compares a[i] with b[j]. */
export const similarityMatrix = (
  a: readonly Embedding[],
  b: readonly Embedding[],
  metric?: Metric,
): readonly (readonly number[])[] => a.map((x) => b.map((y) => similarityOf(x, y, metric)));

export const isMulti = (e: Embedding): e is readonly Vector[] => Array.isArray(e);

/** For each row of `query` the best match in `page`, summed over all rows. No clipping, no division by length. */
function maxSim(query: readonly Vector[], page: readonly Vector[]): number {
  if (query[0] && page[0]) sameWidth(query[0], page[0]);
  const rows = page.map(numbersOf);
  let sum = 0;
  for (const q of query.map(numbersOf)) {
    let best = -Infinity;
    for (const p of rows) best = Math.max(best, dot(q, p));
    sum += best;
  }
  return sum;
}

/** The values of a vector of whatever precision. Int8 as it is: cosine does not see the scale. */
function numbersOf(v: Vector): ArrayLike<number> {
  if (v instanceof Uint16Array) return Float32Array.from(v, fromFloat16);
  if (v instanceof Uint8Array) return Float32Array.from(v, (q) => q - 128);
  return v;
}

/** 1 where all bits agree, −1 where none does. */
function hamming(a: Vector, b: Vector): number {
  let differing = 0;
  for (let i = 0; i < a.length; i++) {
    for (let rest = (a[i] ^ b[i]) & 0xff; rest; rest &= rest - 1) differing++;
  }
  return 1 - (2 * differing) / (8 * a.length);
}

function dot(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}

function sameWidth(a: Vector, b: Vector): void {
  if (a.length !== b.length) {
    throw new InputError(
      `embeddings have ${a.length} and ${b.length} values; use the same truncateDim and precision`,
    );
  }
}
