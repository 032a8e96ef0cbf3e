import { beforeAll, describe, expect, test } from 'vitest';
import { BACKENDS, startBackend } from '../../../test/support/backends.ts';
import { plainAdapter, randomTerm } from '../../../test/support/plain-adapter.ts';
import { compareAdapters } from './compare-adapters.ts';
import { comparisonReport, meanOverlap } from './comparison-report.ts';
import { effectReport, histogram } from './effect-report.ts';
import { inspectAdapter } from './inspect-adapter.ts';
import { inspectionReport } from './inspection-report.ts';

beforeAll(() => startBackend(BACKENDS[0]));

const modules = (seed: number) =>
  Object.fromEntries(
    [0, 1, 2].flatMap((layer) =>
      ['q_proj', 'up_proj'].map((kind, k) => [
        `model.layers.${layer}.self_attn.${kind}`,
        randomTerm({ inSize: 8, outSize: 6, rank: 2 }, seed + 10 * layer + 2 * k),
      ]),
    ),
  );

const expectSelfContained = (html: string) =>
  expect(html).not.toMatch(/<script|<link|<img|@import|https?:|src=|href=/);

describe('pages', () => {
  test('inspection: a plot of norms, one of ranks, a spectrum a kind, and every module in the table', async () => {
    const adapter = plainAdapter('a <b>', modules(1));
    const report = await inspectAdapter(adapter);
    const html = await inspectionReport([report]);
    expectSelfContained(html);
    expect(html.match(/<figure/g)?.length).toBe(4);
    expect(html).toContain('<h2>a &lt;b&gt;</h2>');
    for (const { module, frobenius } of report.modules) {
      expect(html).toContain(`<td>${module}</td>`);
      expect(html).toContain(`>${frobenius.toPrecision(4)}<`);
    }
    const withBase = report.modules.map((m) => ({ ...m, relative: m.frobenius / 10 }));
    expect((await inspectionReport([{ ...report, modules: withBase }])).match(/<figure/g)?.length).toBe(5);
    adapter.dispose();
  });

  test('comparison: three plots over layers, two overlaps, what only one has', async () => {
    const a = plainAdapter('a', { ...modules(1), head: randomTerm({ inSize: 8, outSize: 6, rank: 2 }, 90) });
    const b = plainAdapter('b', modules(40));
    const html = await comparisonReport(await compareAdapters(a, b));
    expectSelfContained(html);
    expect(html.match(/<figure/g)?.length).toBe(5);
    expect(html).toContain('6 modules in both, 1 only in a.');
    for (const adapter of [a, b]) adapter.dispose();
  });

  test('effect: a histogram and the matrix of all ways to run', async () => {
    const pair = (from: string | null, to: string, cosines: readonly number[]) => ({
      from,
      to,
      cosines,
      mean: cosines.reduce((x, y) => x + y, 0) / cosines.length,
      least: Math.min(...cosines),
    });
    const effect = {
      inputs: 2,
      adapters: ['a', 'b'],
      moved: [pair(null, 'a', [0.5, 0.625]), pair(null, 'b', [0.75, 1])],
      between: [pair('a', 'b', [0.25, 0.125])],
    };
    const html = await effectReport(effect);
    expectSelfContained(html);
    expect(html.match(/<figure/g)?.length).toBe(2);
    for (const mean of ['0.5625', '0.875', '0.1875']) expect(html).toContain(`>${mean}</text>`);
  });
});

test('the mean overlap is over those modules that have so many directions', () => {
  expect(
    meanOverlap([
      [[0.2, 0.4]],
      [
        [0.6, 0.8],
        [1, 0.5],
      ],
    ]),
  ).toEqual([
    [0.4, (0.4 + 0.8) / 2],
    [1, 0.5],
  ]);
  expect(meanOverlap([])).toEqual([]);
});

test('every input is in one bin of the histogram, the best in the last', () => {
  const pair = { from: null, to: 'a', cosines: [0.5, 0.52, 0.76, 1], mean: 0, least: 0.5 };
  const { categories, series } = histogram([pair]);
  expect(categories.length).toBe(10);
  expect(series[0].values).toEqual([2, 0, 0, 0, 0, 1, 0, 0, 0, 1]);
  const still = { ...pair, cosines: [1, 1], least: 1 };
  expect(histogram([still]).series[0].values.reduce((a, b) => a + b)).toBe(2);
});
