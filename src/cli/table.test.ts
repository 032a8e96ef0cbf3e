import { expect, test } from 'vitest';
import { displayWidth, matrixTable, pairs, shorten, wrap } from './table.ts';

test.each([
  ['abc', 3],
  ['红色', 4],
  ['ヨット', 6],
  ['рыба', 4],
  ['e\u0301', 1],
  ['한국', 4],
  ['\x1b[32mgo\x1b[39m', 2],
])('%s is %i columns wide', (text, width) => {
  expect(displayWidth(text)).toBe(width);
});

test('shortened texts never are wider than asked for, and have no line breaks', () => {
  expect(shorten('a red\n  apple', 20)).toBe('a red apple');
  expect(shorten('a red apple', 6)).toBe('a red…');
  expect(shorten('一座有红色屋顶的房子', 6)).toBe('一座…');
});

test('columns line up whatever the script of the labels', () => {
  const table = matrixTable(
    {
      rows: ['a', '红色'],
      columns: ['x', 'a very long label indeed'],
      values: [
        [1, -0.25],
        [0.5, 0.125],
      ],
    },
    { best: (t) => t.replace(/ /g, '*') },
  );
  const cell = (text: string) => text.padStart(20);
  expect(table.split('\n')).toEqual([
    `      ${cell('x')}  a very long label i…`,
    `a     ${cell('1.000').replace(/ /g, '*')}  ${cell('-0.250')}`,
    `红色  ${cell('0.500').replace(/ /g, '*')}  ${cell('0.125')}`,
    '',
  ]);
});

test('a narrow screen gets narrow columns', () => {
  const columns = ['first', 'second', 'a third with a long name'];
  const table = matrixTable({ rows: ['row'], columns, values: [[1, 2, 3]] }, { width: 40 });
  for (const line of table.split('\n')) expect(line.length).toBeLessThanOrEqual(40);
});

test('wrapped text stays below itself', () => {
  expect(wrap('one two three', 8)).toEqual(['one two', 'three']);
  expect(wrap('a   b', 8)).toEqual(['a   b']);
  const said = 'this goes on for longer than a screen of sixty columns is wide';
  expect(
    pairs(
      [
        ['a', said],
        ['bb', 'x'],
      ],
      { width: 60 },
    ),
  ).toBe('  a   this goes on for longer than a screen of sixty\n      columns is wide\n  bb  x\n');
});
