import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { InputError } from '../src/errors.ts';
import { BestDocuments } from '../src/evaluate/best-documents.ts';
import { pearson, ranks, spearman } from '../src/evaluate/correlation.ts';
import { kMeans } from '../src/evaluate/k-means.ts';
import { accuracy, clusterAgreement, macroF1 } from '../src/evaluate/label-metrics.ts';
import { minimize } from '../src/evaluate/lbfgs.ts';
import { fitLogistic, predictLogistic } from '../src/evaluate/logistic-regression.ts';
import { predictNearest } from '../src/evaluate/nearest-neighbours.ts';
import { ndcg, rankingMetrics } from '../src/evaluate/ranking-metrics.ts';
import { expectClose, gaussian } from './support/close.ts';

// What trec_eval, scipy and scikit-learn say: test/golden/evaluate/make_golden.py.
type Golden = {
  ranking: {
    scores: Record<string, number>;
    judged: Record<string, number>;
    expected: Record<string, number>;
    'ndcg@10, all digits'?: number;
  }[];
  correlation: { a: number[]; b: number[]; pearson: number; spearman: number; ranks: number[] }[];
  labels: ({ truth: string[]; guess: string[] } & Record<
    'accuracy' | 'macroF1' | 'homogeneity' | 'completeness' | 'vMeasure',
    number
  >)[];
  classification: {
    vectors: number[][];
    labels: string[];
    train: number;
    c: number;
    coefficients: number[][];
    intercepts: number[];
    predicted: string[];
    nearest: string[];
  }[];
  clustering: {
    vectors: number[][];
    labels: string[];
    k: number;
    separated: boolean;
    inertia: number;
    vMeasure: number;
  }[];
};
const golden: Golden = JSON.parse(
  readFileSync(new URL('./golden/evaluate/golden.json', import.meta.url), 'utf8'),
);

const rankedBy = (scores: Record<string, number>, depth = 1000): readonly string[] => {
  const best = new BestDocuments(depth);
  for (const [id, score] of Object.entries(scores)) best.offer(id, score);
  return best.ranked();
};
const each = <T>(cases: readonly T[]) => cases.map((c, i) => [i, c] as const);

describe('ranking metrics', () => {
  test.each(each(golden.ranking))('case %i is what trec_eval says, ties included', (_, c) => {
    const judged = new Map(Object.entries(c.judged));
    const found = rankingMetrics(rankedBy(c.scores), judged);
    expect(Object.keys(found).sort()).toEqual(Object.keys(c.expected).sort());
    const relevant = [...judged.values()].some((gain) => gain > 0);
    for (const [name, value] of Object.entries(found)) {
      if (!relevant)
        expect(value, name).toBeNaN(); // trec_eval counts such a query as 0, which no ranking could change
      else expect(Math.abs(value - c.expected[name]), name).toBeLessThan(5.1e-5); // it prints four digits
    }
    if (c['ndcg@10, all digits'] !== undefined)
      expect(found['ndcg@10']).toBeCloseTo(c['ndcg@10, all digits'], 12);
  });

  const scored = fc.uniqueArray(
    fc.record({ score: fc.integer({ min: -50, max: 50 }), gain: fc.integer({ min: 0, max: 3 }) }),
    { minLength: 1, maxLength: 60, selector: (d) => d },
  );
  const parts = (docs: readonly { score: number; gain: number }[]) => ({
    scores: Object.fromEntries(docs.map(({ score }, i) => [`d${i}`, score])),
    judged: new Map(docs.map(({ gain }, i) => [`d${i}`, gain])),
  });

  test('a perfect ranking has 1 everywhere it can; every value lies between 0 and 1', () => {
    fc.assert(
      fc.property(scored, (docs) => {
        fc.pre(docs.some((d) => d.gain > 0));
        const { scores, judged } = parts(docs);
        for (const value of Object.values(rankingMetrics(rankedBy(scores), judged))) {
          expect(value).toBeGreaterThanOrEqual(0);
          expect(value).toBeLessThanOrEqual(1 + 1e-12);
        }
        const perfect = rankedBy(Object.fromEntries(judged));
        const best = rankingMetrics(perfect, judged, [60]);
        for (const [name, value] of Object.entries(best)) expect(value, name).toBeCloseTo(1, 12);
      }),
    );
  });

  test('a monotone change of the scores changes nothing', () => {
    fc.assert(
      fc.property(scored, (docs) => {
        const { scores } = parts(docs);
        const bent = Object.fromEntries(Object.entries(scores).map(([id, s]) => [id, s ** 3 + 7]));
        expect(rankedBy(bent)).toEqual(rankedBy(scores));
      }),
    );
  });

  test('moving a relevant document up never lowers nDCG', () => {
    fc.assert(
      fc.property(scored, fc.nat(), (docs, pick) => {
        fc.pre(docs.some((d) => d.gain > 0) && docs.length > 1);
        const { scores, judged } = parts(docs);
        const order = [...rankedBy(scores)];
        const before = ndcg(order, judged, 10);
        const at = 1 + (pick % (order.length - 1));
        fc.pre((judged.get(order[at]) ?? 0) >= (judged.get(order[at - 1]) ?? 0));
        [order[at - 1], order[at]] = [order[at], order[at - 1]];
        expect(ndcg(order, judged, 10)).toBeGreaterThanOrEqual(before - 1e-12);
      }),
    );
  });

  test('the heap keeps what sorting everything would keep, whatever the order of arrival', () => {
    fc.assert(
      fc.property(scored, fc.integer({ min: 1, max: 20 }), (docs, depth) => {
        const entries = docs.map(({ score }, i) => [`d${i}`, score] as const);
        const sorted = [...entries].sort((a, b) => b[1] - a[1] || (a[0] > b[0] ? -1 : 1)).map(([id]) => id);
        expect(rankedBy(Object.fromEntries(entries), depth)).toEqual(sorted.slice(0, depth));
        expect(rankedBy(Object.fromEntries(entries.reverse()), depth)).toEqual(sorted.slice(0, depth));
      }),
    );
  });
});

describe('correlation', () => {
  test.each(each(golden.correlation))('case %i is what scipy says', (_, c) => {
    expect(pearson(c.a, c.b)).toBeCloseTo(c.pearson, 12);
    expect(spearman(c.a, c.b)).toBeCloseTo(c.spearman, 12);
    expect([...ranks(c.b)]).toEqual(c.ranks);
  });

  test('a constant series correlates with nothing', () => {
    expect(pearson([0.1, 0.1, 0.1], [1, 2, 3])).toBeNaN();
    expect(spearman([1, 2, 3], [0.3, 0.3, 0.3])).toBeNaN();
  });

  test('Spearman sees only the order', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.integer(), fc.integer()), { minLength: 2 }), (pairs) => {
        const [a, b] = [pairs.map((p) => p[0]), pairs.map((p) => p[1])];
        const bent = a.map((v) => Math.sign(v) * Math.log1p(Math.abs(v)));
        expect(spearman(bent, b)).toEqual(spearman(a, b));
        expect(spearman(b, a)).toEqual(spearman(a, b));
      }),
    );
  });
});

describe('labels and clusters', () => {
  test.each(each(golden.labels))('case %i is what scikit-learn says', (_, c) => {
    expect(accuracy(c.guess, c.truth)).toBeCloseTo(c.accuracy, 12);
    expect(macroF1(c.guess, c.truth)).toBeCloseTo(c.macroF1, 12);
    const found = clusterAgreement(c.guess, c.truth);
    for (const name of ['homogeneity', 'completeness', 'vMeasure'] as const)
      expect(found[name], name).toBeCloseTo(c[name], 10);
  });

  test('clusters count by what they hold, not by their numbers; swapping the sides swaps the two parts', () => {
    const labels = fc.array(fc.tuple(fc.nat(4), fc.nat(4)), { minLength: 1, maxLength: 40 });
    fc.assert(
      fc.property(labels, (pairs) => {
        const [a, b] = [pairs.map((p) => p[0]), pairs.map((p) => `l${p[1]}`)];
        const found = clusterAgreement(a, b);
        const renamed = clusterAgreement(
          a.map((c) => 10 - c),
          b,
        );
        const swapped = clusterAgreement(b, a.map(String));
        expect(renamed.vMeasure).toBeCloseTo(found.vMeasure, 10);
        expect(swapped.homogeneity).toBeCloseTo(found.completeness, 10);
        expect(clusterAgreement(b, b).vMeasure).toBeCloseTo(1, 12);
      }),
    );
  });
});

describe('classifiers', () => {
  test.each(each(golden.classification))('case %i: weights and predictions of scikit-learn', async (_, c) => {
    const vectors = c.vectors.map((v) => Float32Array.from(v));
    const [train, rest] = [vectors.slice(0, c.train), vectors.slice(c.train)];
    const labels = c.labels.slice(0, c.train);
    const model = await fitLogistic(train, labels, { c: c.c, tolerance: 1e-9 });
    expect(model.converged).toBe(true);
    const expected = c.coefficients.flatMap((row, i) => [...row, c.intercepts[i]]);
    expectClose(model.weights, expected, { relativeToMax: 2e-6, what: 'weights' });
    expect(rest.map((v) => predictLogistic(model, v))).toEqual(c.predicted);
    expect(rest.map((v) => predictNearest({ vectors: train, labels }, v, 5))).toEqual(c.nearest);
  });

  test('one label only is refused', async () => {
    await expect(fitLogistic([Float32Array.of(1)], ['a'])).rejects.toThrow(InputError);
    await expect(fitLogistic([Float32Array.of(1)], ['a'])).rejects.toThrow('only "a"');
  });

  test('L-BFGS walks the valley of Rosenbrock', async () => {
    const valley = (x: Float64Array, g: Float64Array): number => {
      const bend = x[1] - x[0] ** 2;
      g[0] = -400 * x[0] * bend - 2 * (1 - x[0]);
      g[1] = 200 * bend;
      return 100 * bend ** 2 + (1 - x[0]) ** 2;
    };
    const { x, iterations, converged } = await minimize(valley, Float64Array.of(-1.2, 1));
    expect(converged).toBe(true);
    expect(iterations).toBeLessThan(60);
    expectClose(x, [1, 1], { relativeToMax: 1e-6, what: 'minimum' });
  });

  test('L-BFGS says when it was stopped early', async () => {
    const bowl = (x: Float64Array, g: Float64Array): number => {
      g[0] = 4 * x[0] ** 3;
      return x[0] ** 4;
    };
    const stopped = await minimize(bowl, Float64Array.of(3), { maxIterations: 2 });
    expect([stopped.converged, stopped.iterations]).toEqual([false, 2]);
  });

  test('of equally frequent labels the first in order wins, of equally near vectors the first given', () => {
    const vectors = [
      [1, 0],
      [1, 0],
      [0, 1],
      [0, 1],
    ].map((v) => Float32Array.from(v));
    const known = { vectors, labels: ['b', 'a', 'c', 'c'] };
    expect(predictNearest(known, Float32Array.of(1, 0), 2)).toBe('a');
    expect(predictNearest(known, Float32Array.of(1, 0), 1)).toBe('b');
    expect(predictNearest(known, Float32Array.of(1, 0), 9)).toBe('c');
  });
});

describe('k-means', () => {
  test.each(each(golden.clustering))('case %i is as good as scikit-learn’s best of 50', async (_, c) => {
    const vectors = c.vectors.map((v) => Float32Array.from(v));
    const found = await kMeans(vectors, { k: c.k, restarts: 50 });
    // Where blobs overlap there are many local minima a hair apart, and luck decides which is met.
    expect(found.inertia).toBeLessThan(c.inertia * (1 + (c.separated ? 1e-6 : 1e-3)));
    if (!c.separated) return;
    expect(found.inertia).toBeGreaterThan(c.inertia * (1 - 1e-6));
    expect(clusterAgreement([...found.assignment], c.labels).vMeasure).toBeCloseTo(c.vMeasure, 10);
  });

  test('the same seed, the same clusters; another seed may differ', async () => {
    const vectors = Array.from({ length: 40 }, (_, i) => gaussian(3, i));
    const run = async (seed: number) =>
      (await kMeans(vectors, { k: 7, seed, restarts: 1 })).assignment.join();
    expect(await run(1)).toBe(await run(1));
    expect(new Set(await Promise.all([1, 2, 3, 4].map(run))).size).toBeGreaterThan(1);
  });

  test('duplicates: as many clusters as asked for, none of them lost', async () => {
    const vectors = [0, 0, 0, 5, 5, 9].map((v) => Float32Array.of(v));
    const { assignment, inertia } = await kMeans(vectors, { k: 3 });
    expect(new Set(assignment).size).toBe(3);
    expect(inertia).toBe(0);
    expect((await kMeans(vectors.slice(0, 3), { k: 2 })).inertia).toBe(0);
  });

  test('more clusters than items are refused with both numbers', async () => {
    await expect(kMeans([Float32Array.of(1)], { k: 2 })).rejects.toThrow('cannot form 2 clusters of 1 items');
  });
});
