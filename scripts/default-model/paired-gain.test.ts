import { expect, test } from 'vitest';
import { pairedGain, type QueryScore } from './paired-gain.ts';

const scores = (clusters: readonly number[], values: readonly number[]): readonly QueryScore[] =>
  values.map((score, i) => ({ cluster: clusters[i], score }));

test('queries that are independent: the standard error of the mean', () => {
  const clusters = [0, 1, 2, 3];
  const found = pairedGain(scores(clusters, [0, 0, 0, 0]), scores(clusters, [1, 0, 1, 0]));
  expect(found.mean).toBe(0.5);
  expect(found.half).toBeCloseTo(1.96 * Math.sqrt(1 / 3 / 4), 10); // variance 1/3, of four
});

test('copies of a query make nothing surer', () => {
  const twice = [0, 0, 1, 1, 2, 2, 3, 3];
  const [once] = [pairedGain(scores([0, 1, 2, 3], [0, 0, 0, 0]), scores([0, 1, 2, 3], [1, 0, 1, 0]))];
  const found = pairedGain(scores(twice, Array(8).fill(0)), scores(twice, [1, 1, 0, 0, 1, 1, 0, 0]));
  expect(found.mean).toBe(once.mean);
  expect(found.half).toBeCloseTo(once.half, 10);
});

test('what all queries gain alike is sure', () => {
  expect(pairedGain(scores([0, 1], [0.25, 0.5]), scores([0, 1], [0.75, 1]))).toEqual({ mean: 0.5, half: 0 });
});
