import { expect, test } from 'vitest';
import type { ModuleReport } from '../adapters/inspect/inspect-adapter.ts';
import { describeComparison } from './adapters-compare.ts';
import { describeEffect } from './adapters-effect.ts';
import { describeReport } from './adapters-inspect.ts';
import { describeList } from './adapters-list.ts';
import { cellTable } from './cell-table.ts';

const lines = (text: string) => text.trimEnd().split('\n');

const moduleOf = (layer: number, kind: string, frobenius: number, relative: number | null): ModuleReport => ({
  module: `model.layers.${layer}.mlp.${kind}`,
  layer,
  kind,
  inSize: 4,
  outSize: 6,
  rank: 2,
  scale: 0.5,
  activation: 'none',
  parameters: 20,
  frobenius,
  spectral: frobenius / 2,
  relative,
  stableRank: 1.5,
  effectiveRank: 1.75,
  singularValues: [frobenius / 2, 0.1],
});

test('numbers stand to the right, with four digits; the first column gives way to a narrow screen', () => {
  const table = {
    columns: ['name', 'n', 'note'],
    rows: [
      ['a-rather-long-name', 1234.5678, 'x'],
      ['红', null, ''],
      ['c', 2, 'yes'],
    ],
  };
  expect(lines(cellTable(table))).toEqual([
    'name                   n  note',
    'a-rather-long-name  1235  x',
    '红',
    'c                      2  yes',
  ]);
  expect(lines(cellTable(table, { width: 24 }))[1]).toBe('a-rather-lo…  1235  x');
  expect(lines(cellTable(table, { heading: (t) => `<${t.trim()}>` }))[0]).toBe('<name>  <n>  <note>');
});

test('list', () => {
  const adapter = { name: 'retrieval', ranks: [4, 8], alpha: 16, modules: 29, parameters: 39552 };
  expect(lines(describeList('here', [adapter], {}))).toEqual([
    'adapter    rank  alpha  maps  parameters',
    'retrieval  4, 8     16    29       39552',
  ]);
  expect(describeList('here', [], {})).toBe('here holds no adapters\n');
});

test('inspect: means over the layers of a kind, or a line a module; no number where the base was not read', () => {
  const modules = [
    moduleOf(0, 'up_proj', 1, 0.1),
    moduleOf(1, 'up_proj', 3, 0.3),
    moduleOf(0, 'down_proj', 5, null),
  ];
  const report = { name: 'mine', rank: 2, parameters: 60, frobenius: 5.9161, modules };
  const short = lines(describeReport(report, { style: {}, modules: false }));
  expect(short).toEqual([
    'mine  rank 2, 60 parameters on 3 maps, ‖ΔW‖ 5.916',
    'means of   maps  rank   scale  ‖ΔW‖_F  ‖ΔW‖₂  of ‖W‖  stable  effective',
    'up_proj       2     2  0.5000       2      1  0.2000   1.500      1.750',
    'down_proj     1     2  0.5000       5  2.500           1.500      1.750',
  ]);
  const long = lines(describeReport(report, { style: {}, modules: true }));
  expect(long.length).toBe(5);
  expect(long[3]).toMatch(/^model\.layers\.1\.mlp\.up_proj +2 +0\.5000 +3 +1\.500 +0\.3000/);
});

test('compare', () => {
  const found = {
    a: 'one',
    b: 'two',
    cosine: 0.25,
    modules: [
      {
        module: 'q',
        layer: null,
        kind: 'q',
        cosine: -0.5,
        inOverlap: [[0.125]],
        outOverlap: [[0.75]],
        inSimilarity: 0.125,
        outSimilarity: 0.75,
      },
    ],
    onlyInA: ['k'],
    onlyInB: [],
  };
  expect(lines(describeComparison(found, {}))).toEqual([
    'one and two  cosine 0.2500; 1 map only in one',
    'module   cosine  φ written  φ read',
    'q       -0.5000     0.7500  0.1250',
  ]);
});

test('effect', () => {
  const pair = { from: null, to: 'mine', cosines: [0.5, 0.7], mean: 0.6, least: 0.5 };
  expect(lines(describeEffect({ inputs: 2, adapters: ['mine'], moved: [pair], between: [] }, {}))).toEqual([
    'cosine between  and   mean    least',
    'no adapter      mine  0.6000  0.5000',
  ]);
});
