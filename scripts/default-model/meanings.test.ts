import { expect, test } from 'vitest';
import type { Corpus } from './emoji.ts';
import { meanings } from './meanings.ts';
import { smallCorpus } from './small-corpus.ts';

const KINDS = 6; // of 24 things: a word that a quarter shares

/** Every thing is of one of six kinds, which no label tells and both languages say. */
function corpusOfKinds(): Corpus {
  const corpus = smallCorpus();
  const locale = (name: string, word: string) => ({
    locale: name,
    names: corpus.emoji.map((_, i) => `${word} ${String.fromCodePoint(97 + i)}`),
    keywords: corpus.emoji.map((_, i) => [`${word}kind ${i % KINDS}`, `${word} of ${i}`]),
  });
  return { emoji: corpus.emoji, locales: [locale('de', 'Ding'), locale('en', 'thing'), locale('xx', 'no')] };
}

const cosine = (a: Float32Array, b: Float32Array) => a.reduce((sum, x, i) => sum + x * b[i], 0);

test('emoji that share words point the same way, others do not; every vector is of length one', async () => {
  const vectors = await meanings(corpusOfKinds(), KINDS, 1);
  for (let i = 0; i < vectors.length; i++) {
    expect(Math.hypot(...vectors[i])).toBeCloseTo(1, 5);
    for (let j = 0; j < i; j++) {
      const close = cosine(vectors[i], vectors[j]);
      if (i % KINDS === j % KINDS) expect(close).toBeGreaterThan(0.95);
      else expect(Math.abs(close)).toBeLessThan(0.3);
    }
  }
});

test('the same for a seed; an emoji that shares nothing has no direction', async () => {
  const corpus = corpusOfKinds();
  expect(await meanings(corpus, 4, 1)).toEqual(await meanings(corpus, 4, 1));
  const locales = corpus.locales.map((l) => ({
    ...l,
    names: l.names.map((n, i) => (i === 0 ? null : n)),
    keywords: l.keywords.map((k, i) => (i === 0 ? [] : k)),
  }));
  const [silent] = await meanings({ ...corpus, locales }, 4, 1);
  expect(Math.hypot(...silent)).toBeLessThan(1e-3);
});
