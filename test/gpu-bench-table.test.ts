import { expect, test } from 'vitest';
import { shareOfPass } from '../bench/gpu/linear-maps.ts';
import { type Figure, figuresTable, timesAsGood } from '../bench/gpu/table.ts';

const texts: Figure = { case: 'texts', value: 250, unit: 'a second', runs: 9, target: 1000 };
const query: Figure = { case: 'a query', value: 40, unit: 'ms', runs: 9, target: 10 };
const ceiling: Figure = { case: 'ceiling', how: '256³', value: 1234.56, unit: 'GFLOP/s' };
const figures = [texts, query, ceiling];

const cells = (table: string) =>
  table
    .trimEnd()
    .split('\n')
    .map((line) => line.split(/ {2,}/));

test('a quarter of the texts, and four times the milliseconds, are a quarter of the target', () => {
  expect(timesAsGood(texts, 1000)).toBe(0.25);
  expect(timesAsGood(query, 10)).toBe(0.25);
  expect(timesAsGood({ ...query, value: 5 }, 10)).toBe(2);
});

test('without a yardstick a row ends with its target', () => {
  expect(cells(figuresTable(figures, null))).toEqual([
    ['case', 'value', 'unit', 'runs', 'target', 'of target'],
    ['texts', '250', 'a second', '9', '1000', '0.2500'],
    ['a query', '40', 'ms', '9', '10', '0.2500'],
    ['ceiling, 256³', '1235', 'GFLOP/s'],
  ]);
});

test('with one, the row of its case says what it reached and how this package compares', () => {
  const table = figuresTable(figures, [
    { case: 'texts', value: 500, unit: 'a second' },
    { case: 'a query', value: 20, unit: 'ms' },
    { case: 'ceiling', value: 12345.6, unit: 'GFLOP/s' },
  ]);
  const [head, ...rows] = cells(table);
  expect(head.slice(-2)).toEqual(['PyTorch', 'of PyTorch']);
  expect(rows.map((row) => row.slice(-2))).toEqual([
    ['500', '0.5000'],
    ['20', '0.5000'],
    ['12346', '0.1000'],
  ]);
});

test('what only one engine ran, or in another unit, is refused', () => {
  expect(() => figuresTable(figures, [{ case: 'pages', value: 1, unit: 'ms' }])).toThrow(
    /"pages" in ms.*no such case/,
  );
  expect(() => figuresTable(figures, [{ case: 'texts', value: 1, unit: 'ms' }])).toThrow(
    /"texts" in ms.*a second/,
  );
});

test('maps that go in one dispatch are linear maps too', () => {
  const row = { calls: 1, share: 0.1, gbPerSecond: null };
  const shares = shareOfPass(
    {
      clock: 'timestamp queries',
      wallMs: 10,
      rows: [
        { ...row, op: 'Gated 8 → 24 ⊙ 24', ms: 3, gflops: 40 },
        { ...row, op: 'Linear 24 → 8', ms: 1, gflops: 20 },
        { ...row, op: 'Heads 8 → 8 + 4 + 4', ms: 1, gflops: 10 },
        { ...row, op: 'Attention', ms: 5, gflops: 99 },
      ],
    },
    300,
  );
  expect(shares.map(({ value }) => value)).toEqual([30, 10, 50]);
});
