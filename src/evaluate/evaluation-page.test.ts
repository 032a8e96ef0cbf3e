import { expect, test } from 'vitest';
import type { Report } from './encoder.ts';
import { evaluationPage, linesOf } from './evaluation-page.ts';

const report: Report = {
  task: 'similarity',
  multivector: false,
  counts: { pairs: 3 },
  scores: [
    { adapter: 'a', size: 16, metrics: { spearman: 0.25, pearson: 0.5 } },
    { adapter: 'a', size: 32, metrics: { spearman: NaN, pearson: 0.75 } },
    { adapter: null, size: 16, metrics: { spearman: 0.125, pearson: 0 } },
    { adapter: null, size: 32, metrics: { spearman: 1, pearson: 0 } },
  ],
};

test('a line an adapter over the sizes; what has no value is a gap', () => {
  expect(linesOf(report, 'spearman')).toEqual([
    {
      name: 'a',
      points: [
        [16, 0.25],
        [32, null],
      ],
    },
    {
      name: 'none',
      points: [
        [16, 0.125],
        [32, 1],
      ],
    },
  ]);
});

test('the page has a figure a metric, the map and every number', async () => {
  const page = await evaluationPage(report, 'm <1>');
  expect(page.match(/<svg/g)?.length).toBe(3);
  expect(page).toContain('similarity with m &lt;1&gt;');
  for (const cell of ['0.2500', '0.7500', '0.1250', '–']) expect(page).toContain(`>${cell}</td>`);
});
