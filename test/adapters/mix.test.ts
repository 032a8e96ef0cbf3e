import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { mixLabel, parseMix } from '../../src/adapters/mix.ts';

const part = (name: string, weight = 1) => ({ name, weight });

test.each([
  ['retrieval', [part('retrieval')]],
  ['retrieval*0.7 + mine*0.3', [part('retrieval', 0.7), part('mine', 0.3)]],
  [' text-matching * -1.5+ my lora ', [part('text-matching', -1.5), part('my lora')]],
  ['a*.5+b*2.+c*1e-3', [part('a', 0.5), part('b', 2), part('c', 1e-3)]],
  ['"code+retrieval"*0.5 + "a*b"', [part('code+retrieval', 0.5), part('a*b')]],
])('%s', (text, parts) => expect(parseMix(text)).toEqual(parts));

describe('what makes no sense is named', () => {
  test.each([
    ['', ''],
    ['a +', ''],
    ['+ a', '+ a'],
    ['a*', 'a*'],
    ['a*x', 'a*x'],
    ['a + b*0.5*2', ' b*0.5*2'],
    ['a*0.5 b', 'a*0.5 b'],
    ['a*1 + "b', ' "b'],
    ['a*Infinity', 'a*Infinity'],
  ])('%j', (text, at) => {
    expect(() => parseMix(text)).toThrow(`"${text}" is no mix of adapters: at "${at}" a name`);
  });
});

test('one way to write a mix: sums of weights, zeros left out', () => {
  expect(mixLabel(parseMix('a*0.5+b+a*0.25'))).toBe('a*0.75 + b*1');
  expect(mixLabel(parseMix('a*0.5 + a*0.5'))).toBe('a');
  expect(mixLabel(parseMix('a*0 + b'))).toBe('b');
  expect(mixLabel(parseMix('a*0'))).toBe(null);
  expect(mixLabel([part('a+b', 2)])).toBe('"a+b"*2');
});

test('a label says what it was made of', () =>
  fc.assert(
    fc.property(
      fc.uniqueArray(
        fc.record({
          name: fc.stringMatching(/^[a-z+*][a-z +*._-]{0,6}[a-z+*]$/),
          weight: fc.double({ min: -100, max: 100, noNaN: true }).filter((w) => w !== 0),
        }),
        { selector: (p) => p.name, minLength: 2, maxLength: 5 },
      ),
      (parts) => {
        expect(parseMix(mixLabel(parts) as string)).toEqual(parts);
      },
    ),
  ));
