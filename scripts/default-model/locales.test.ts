import { expect, test } from 'vitest';
import { bestCovered } from './locales.ts';
import { smallCorpus } from './small-corpus.ts';

test('best covered: emoji named, then keywords; a language by its best locale', () => {
  const [de, en, pt, lusa] = smallCorpus().locales;
  const fewer = { ...en, names: en.names.map((name, i) => (i === 3 ? null : name)) };
  const richer = { ...lusa, keywords: lusa.keywords.map((k) => [...k, 'mais']) };
  expect(bestCovered([fewer, de, pt, richer])).toEqual(['pt-PT', 'de', 'en']);
  expect(bestCovered([fewer, de, pt, richer], 2)).toEqual(['pt-PT', 'de']);
});
