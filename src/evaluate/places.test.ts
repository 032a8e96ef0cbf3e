import { expect, test } from 'vitest';
import { DeviceError, InputError, SourceError } from '../errors.ts';
import { errorAt, filesFirst, placesFirst, placesOf } from './places.ts';

const at = (file: string, ...lines: readonly number[]) => lines.map((line) => ({ where: `${file}:${line}` }));

test('lines of one file name it once; another file is named where it begins', () => {
  expect(placesOf(at('C:/data/a.jsonl', 7, 2))).toBe('C:/data/a.jsonl:7, 2');
  expect(placesOf([...at('a', 1, 5), ...at('b', 5), ...at('a', 9)])).toBe('a:1, 5, b:5, a:9');
});

test('a few lines are named, the others counted', () => {
  const lines = Array.from({ length: 40 }, (_, i) => i + 1);
  expect(placesOf(at('a.jsonl', ...lines))).toBe('a.jsonl:1, 2, 3, 4, 5, 6, 7, 8 and 32 more');
  expect(placesOf(at('a.jsonl', ...lines.slice(0, 8)))).toBe('a.jsonl:1, 2, 3, 4, 5, 6, 7, 8');
});

test('a place that is no line of a file is named as it is', () => {
  const named = [1, 12].map((i) => ({ where: `pair ${i}` }));
  expect(placesOf([...named, ...at('a', 3)])).toBe('pair 1, pair 12, a:3');
  expect(filesFirst(named)).toBe('');
});

test('what has no place adds nothing to a message', () => {
  expect([placesFirst([{}]), filesFirst([{}]), filesFirst([])]).toEqual(['', '', '']);
  expect(placesFirst([{}, ...at('a', 3)])).toBe('a:3: ');
  expect(filesFirst([...at('a', 1, 2), ...at('b', 1)])).toBe('a, b: ');
});

test('an error about an input gets its place and stays of its kind; any other is left alone', () => {
  for (const Kind of [InputError, SourceError]) {
    const cause = new Kind('gone');
    const placed = errorAt('a:3', cause);
    expect(placed).toBeInstanceOf(Kind);
    expect(placed).toMatchObject({ message: 'a:3: gone', cause });
  }
  const other = new DeviceError('no memory');
  expect(errorAt('a:3', other)).toBe(other);
});
