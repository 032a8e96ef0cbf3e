import { expect, test } from 'vitest';
import { recallAt } from './recall.ts';

const axis = (i: number, length = 12) => Float32Array.from({ length }, (_, k) => (k === i ? 1 : 0));
const documents = Array.from({ length: 12 }, (_, i) => axis(i));

test('recall: the place of the best relevant document among the others', () => {
  // Document k has a cosine that falls with k: the relevant one is the first, the sixth, the eleventh.
  const query = Float32Array.from({ length: 12 }, (_, i) => 12 - i);
  const { recall, means } = recallAt([query, query, query], documents, [[0], [5], [10]], [12]);
  expect(recall[0]).toEqual({ r1: 1 / 3, r5: 1 / 3, r10: 2 / 3 });
  expect(means).toEqual([1, 1 / 3, 0]);
});

test('a size sees only the first values', () => {
  const two = [Float32Array.of(1, 0.1, 0, 5), Float32Array.of(0.9, 0.5, 0, 0)];
  const { recall } = recallAt([Float32Array.of(1, 0, 0, 0)], two, [[0]], [2, 4]);
  expect(recall.map((r) => r.r1)).toEqual([1, 0]);
});

test('of several relevant documents the best counts, and they do not stand in each other’s way', () => {
  const query = Float32Array.from({ length: 12 }, (_, i) => 12 - i);
  const others = recallAt([query], documents, [[1, 2, 3, 4, 5, 0]], [12]);
  expect(others.recall[0].r1).toBe(1);
});

test('cosines: of matching pairs and of all others', () => {
  const { cosines } = recallAt([axis(3).map((x) => 2 * x)], documents, [[3]], [12]);
  expect(cosines).toEqual({ matching: 1, other: 0 });
});
