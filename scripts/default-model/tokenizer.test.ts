import { expect, test } from 'vitest';
import { tokenizerConfig } from '../../bench/make-checkpoint/tokenizer-files.ts';
import { createTokenizer } from '../../src/text/tokenizer.ts';
import { trainBpe } from './bpe.ts';
import { MAJOR_LOCALES } from './locales.ts';
import { smallCorpus } from './small-corpus.ts';
import { splitWords, trainTokenizer, weightedWords, withMerges } from './tokenizer.ts';

const code = (c: string) => c.charCodeAt(0);

test('the heaviest pair is merged first, by weight and not by number of words', () => {
  const words = new Map([
    ['low', 5],
    ['lower', 2],
    ['newest', 6],
    ['widest', 3],
  ]);
  // Sennrich et al. 2016, figure 1: e s, es t, then l o, lo w (without their end-of-word mark).
  expect(trainBpe(words, { symbols: 4 })).toEqual([
    [code('e'), code('s'), 256],
    [256, code('t'), 257],
    [code('l'), code('o'), 258],
    [258, code('w'), 259],
  ]);
});

test('two merges that spell the same word share a symbol; light pairs are left alone', () => {
  const words = new Map([
    ['ab', 100],
    ['bc', 90],
    ['abc', 30],
    ['xabc', 1],
    ['bcd', 1],
  ]);
  const merges = trainBpe(words, { symbols: 50, minimum: 2 });
  expect(merges).toEqual([
    [code('a'), code('b'), 256],
    [code('b'), code('c'), 257],
    [256, code('c'), 258],
  ]);
});

test('overlapping pairs count once each, and merging leaves no stale count behind', () => {
  const merges = trainBpe(new Map([['aaaa', 10]]), { symbols: 5 });
  expect(merges).toEqual([
    [code('a'), code('a'), 256],
    [256, 256, 257],
  ]);
});

test('a written tokenizer merges bytes of any script and keeps the control tokens', () => {
  const merges = trainBpe(
    new Map([
      [' яблоко', 9],
      [' apple', 20],
    ]),
    { symbols: 40 },
  );
  const tokenizer = createTokenizer(withMerges(merges), tokenizerConfig());
  expect(tokenizer.encode(' apple')).toHaveLength(1);
  expect(tokenizer.encode(' яблоко')).toHaveLength(1);
  expect(tokenizer.encode(' apples 苹')).toHaveLength(6);
  const symbols = 256 + new Set(merges.map(([, , joined]) => joined)).size;
  expect(tokenizer.specialId('<|endoftext|>')).toBe(symbols);
  expect(tokenizer.vocabSize).toBe(symbols + 22);
});

test('training on a corpus gives the size that was asked for, and short prompts', () => {
  const json = trainTokenizer(smallCorpus().locales, { size: 256 + 22 + 60 });
  const tokenizer = createTokenizer(json, tokenizerConfig());
  expect(tokenizer.vocabSize).toBe(338);
  expect(tokenizer.encode('Query: Ding').length).toBeLessThan(8);
  expect(tokenizer.encode('<|image_pad|>', { specialTokens: true })).toEqual([
    tokenizer.specialId('<|image_pad|>'),
  ]);
  expect(trainTokenizer(smallCorpus().locales, { size: 338 })).toEqual(json);
});

test('words are cut as the tokenizer cuts them', () => {
  expect([...splitWords(" it's 12 o’clock: ямочка-苹果 \n x")]).toEqual([
    ' it',
    "'s",
    ' ',
    '1',
    '2',
    ' o',
    '’clock',
    ':',
    ' ямочка',
    '-苹果',
    ' \n',
    ' x',
  ]);
  expect([...splitWords('e\u0301')]).toEqual(['é']);
});

test('a locale that is drawn more often weighs more, and no word weighs nothing', () => {
  const locales = MAJOR_LOCALES.map((locale) => ({
    locale,
    names: Array(50).fill(`${locale}word`),
    keywords: Array(50).fill([]),
  }));
  const words = weightedWords(locales);
  expect(words.get(' enword')!).toBeGreaterThan(2 * words.get(' deword')!);
  expect(words.get(' deword')!).toBeGreaterThan(0.8 * words.get(' frword')!);
  expect([...words.values()].every((w) => Number.isInteger(w) && w >= 1)).toBe(true);
});
