import { qr } from '../../src/adapters/algebra/qr.ts';
import { denseSvd } from '../../src/adapters/algebra/svd.ts';
import { dot, mixed, type Vectors } from '../../src/adapters/algebra/vectors.ts';
import { randomStream } from '../../src/adapters/combine/random-stream.ts';
import type { Corpus, LocaleTexts } from './emoji.ts';
import { MAJOR_LOCALES } from './locales.ts';
import { trainingTexts } from './splits.ts';

/** A word of more emoji than this share of them tells nothing. */
const COMMON = 0.3;
/** Of subspace iteration: the eigenvalues fall quickly, and targets need no more than two digits. */
const ROUNDS = 8;

/**
 * One unit vector for each emoji, near those of emoji that share its words: latent semantic analysis (Deerwester et al. 1990)
 * of the keywords and words of names that are trained on, in the 30 major languages. The first dimensions say most.
 * → [N] vectors of `width`
 */
export async function meanings(
  corpus: Corpus,
  width: number,
  seed: number,
): Promise<readonly Float32Array[]> {
  const rows = sharedWords(corpus);
  const random = randomStream(seed, 'meanings');
  let basis: Vectors = Array.from({ length: width }, () => rows.map(() => random() - 0.5)).map((x) =>
    Float64Array.from(x),
  );
  for (let round = 0; round < ROUNDS; round++) basis = qr(times(rows, basis)).q;
  // The largest eigenvalues with their vectors, largest first: those of the matrix as seen in the basis, turned back.
  const { u, s } = denseSvd(times(basis, times(rows, basis)));
  const directions = u.map((turn) => mixed(basis, turn, rows.length));
  return rows.map((_, i) => {
    const vector = Float32Array.from(directions, (d, k) => d[i] * Math.sqrt(s[k]));
    const size = Math.hypot(...vector) || 1;
    return vector.map((x) => x / size);
  });
}

/** M x for every x, where M is given by its rows. */
const times = (rows: Vectors, xs: Vectors): Float64Array[] =>
  xs.map((x) => Float64Array.from(rows, (row) => dot(row, x)));

/** Cosine of the bags of words of every two emoji, a word weighed by its rarity (tf-idf).   [N] rows of N */
function sharedWords(corpus: Corpus): Vectors {
  const count = corpus.emoji.length;
  const rows = corpus.emoji.map(() => new Float64Array(count));
  for (const texts of corpus.locales.filter((l) => MAJOR_LOCALES.includes(l.locale))) {
    for (const owners of wordOwners(trainingTexts(corpus, texts)).values()) {
      if (owners.length < 2 || owners.length > COMMON * count) continue;
      const weight = Math.log(count / owners.length) ** 2;
      for (const i of owners) for (const j of owners) rows[i][j] += weight;
    }
  }
  const sizes = rows.map((row, i) => Math.sqrt(row[i]) || 1);
  rows.forEach((row, i) => {
    for (let j = 0; j < count; j++) row[j] /= sizes[i] * sizes[j];
  });
  return rows;
}

/** Keyword or word of a name → the emoji that it is said of. */
function wordOwners({ names, keywords }: LocaleTexts): ReadonlyMap<string, readonly number[]> {
  const owners = new Map<string, number[]>();
  names.forEach((name, i) => {
    const words = new Set([
      ...keywords[i].map((k) => k.toLowerCase()),
      ...(name?.toLowerCase().match(/[\p{L}\p{M}]+/gu) ?? []),
    ]);
    for (const word of words) {
      const list = owners.get(word);
      if (list) list.push(i);
      else owners.set(word, [i]);
    }
  });
  return owners;
}
