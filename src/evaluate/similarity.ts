import type { Settings } from '../config.ts';
import { InputError } from '../errors.ts';
import { pearson, spearman } from './correlation.ts';
import { type EvaluationRun, embedVectors, type Item, type Report, type Score, startRun } from './encoder.ts';
import { cosinesAt, measured } from './matryoshka.ts';
import { filesFirst, type Placed, placesFirst } from './places.ts';

/** Two items, and how alike people found them, on any scale. */
export type ScoredPair = Placed & { readonly a: Item; readonly b: Item; readonly score: number };

/** Correlation of the embeddings' cosine with the given scores: Spearman (the usual figure) and Pearson. */
export async function evaluateSimilarity(
  pairs: readonly ScoredPair[],
  options: EvaluationRun,
  { promptName = 'query' }: { readonly promptName?: Settings['promptName'] } = {},
): Promise<Report> {
  checkPairs(pairs);
  const run = startRun(options, 2 * pairs.length);
  const truth = pairs.map(({ score }) => score);
  const scores: Score[] = [];
  for (const task of run.adapters) {
    const embed = async (side: 'a' | 'b') => {
      const items = pairs.map((pair) => ({ item: pair[side], where: pair.where }));
      return (await embedVectors(run, items, { task, promptName })).map((v) => measured(v, run.sizes));
    };
    const [a, b] = [await embed('a'), await embed('b')];
    const cosines = a.map((x, i) => cosinesAt(x, b[i], run.sizes));
    run.sizes.forEach((size, s) => {
      const found = cosines.map((c) => c[s]);
      const metrics = { spearman: spearman(found, truth), pearson: pearson(found, truth) };
      scores.push({ adapter: task, size, metrics });
    });
  }
  return { task: 'similarity', multivector: false, counts: { pairs: pairs.length }, scores };
}

/** @throws InputError for fewer pairs than two, and for scores that are all the same: nothing correlates with them */
export function checkPairs(pairs: readonly ScoredPair[]): void {
  if (pairs.length < 2)
    throw new InputError(
      `${placesFirst(pairs)}a correlation needs two pairs or more, there are ${pairs.length}; give more pairs`,
    );
  const [{ score }] = pairs;
  if (pairs.some((pair) => pair.score !== score)) return;
  throw new InputError(
    `${filesFirst(pairs)}all ${pairs.length} pairs have the score ${score}, with which nothing correlates; ` +
      'give pairs that are less and more alike',
  );
}
