import { expect, test } from 'vitest';
import {
  classification,
  clustering,
  imageToText,
  itemOf,
  keywordToImage,
  type Probe,
  textToImage,
  textToText,
} from './evaluation-sets.ts';
import { familyOf } from './language-families.ts';
import { MAJOR_LOCALES } from './locales.ts';
import { smallCorpus, smallDrawings } from './small-corpus.ts';
import { keywordPart, labelPart, pairPart, picturePart } from './splits.ts';

const corpus = smallCorpus();
const textOf = (probe: Probe) => ('text' in probe ? probe.text : '');

test('text → image: queries of one part and one kind, every picture a candidate, twins right as well', () => {
  const sets = (['seen', 'unseen'] as const).flatMap((words) => textToImage(corpus, 'test', words));
  expect(sets.length).toBeGreaterThan(4);
  for (const { queries, documents, relevant } of sets) {
    expect(documents).toHaveLength(24);
    expect(documents.every((d) => 'style' in d && d.style === 'noto')).toBe(true);
    queries.forEach((q, i) => {
      expect(picturePart(corpus.emoji[q.emoji].code)).toBe('test');
      expect(relevant[i]).toContain(q.emoji);
      expect(relevant[i]).toHaveLength(q.emoji >= 22 ? 2 : 1);
    });
  }
  const unseen = textToImage(corpus, 'test', 'unseen').flatMap(({ locale, queries }) =>
    queries.map((q) => pairPart(corpus.emoji[q.emoji].code, locale)),
  );
  expect(unseen.length).toBeGreaterThan(0);
  expect(unseen).not.toContain('train');
});

test('image → text: the same pictures look for the names of a locale', () => {
  const sets = imageToText(corpus, 'validation');
  expect(sets.map((s) => s.locale)).toEqual(['de', 'en', 'pt', 'pt-PT']);
  for (const { queries, documents, relevant } of sets)
    queries.forEach((q, i) => {
      expect(relevant[i].map((place) => textOf(documents[place]).split(' ').at(-1))).toContain(`${q.emoji}`);
    });
});

test('text → text: held-out names only, and none that training shows in another language', () => {
  const sets = textToText(corpus, 'test');
  expect(sets.map((s) => s.locale)).not.toContain('en');
  const [{ locale, queries, relevant }] = sets;
  for (const q of queries) expect(pairPart(corpus.emoji[q.emoji].code, locale)).toBe('test');
  const { emoji } = queries[0];
  expect(relevant[0]).toContain(emoji);
  // The same word in all languages: seen wherever the pair is trained on.
  const same = corpus.locales.map((l) => ({
    ...l,
    names: l.names.map((n, i) => (i === emoji ? 'pizza' : n)),
  }));
  const left = textToText({ ...corpus, locales: same }, 'test').flatMap((s) => s.queries.map(textOf));
  expect(left).not.toContain('pizza');
});

test('keyword → image: the word was held out from every emoji that carries it', () => {
  const sets = keywordToImage(corpus, 'test');
  const queries = sets.flatMap((s) =>
    s.queries.map((q, i) => ({ ...s, text: textOf(q), places: s.relevant[i] })),
  );
  expect(queries.length).toBeGreaterThan(0);
  for (const { locale, text, places } of queries)
    for (const place of places) {
      const { code } = corpus.emoji[place];
      const name = corpus.locales.find((l) => l.locale === locale)!.names[place];
      expect(keywordPart(code, locale, name, text)).toBe('test');
    }
  expect(queries.map((q) => q.text)).not.toContain('shared');
});

test.each(['pictures', 'names'] as const)(
  'classification of %s: the two sides share labels and no emoji; rare labels are left out',
  (from) => {
    const { train, test: measured } = classification(corpus, 'test', from, 'group', 1);
    const trained = new Set(train.map((p) => p.probe.emoji));
    expect(train.length).toBeGreaterThan(0);
    expect(trained.size).toBe(train.length);
    expect(measured.filter((p) => trained.has(p.probe.emoji))).toEqual([]);
    expect(new Set([...trained].map((i) => labelPart(corpus, i)))).toEqual(new Set(['train']));
    expect(new Set(train.map((p) => p.label))).toEqual(new Set(measured.map((p) => p.label)));
    expect(classification(corpus, 'test', from, 'subgroup', 20)).toEqual({ train: [], test: [] });
    const clusters = clustering(corpus, 'test', from, 'group');
    expect(clusters.length).toBeGreaterThan(0);
    for (const { probe, label } of clusters) {
      expect(label).toBe(corpus.emoji[probe.emoji].group);
      expect(labelPart(corpus, probe.emoji)).toBe('test');
    }
  },
);

test('names to classify were not trained on, those to learn from were', () => {
  const { train, test: measured } = classification(corpus, 'test', 'names', 'group', 1);
  const partsOf = (list: typeof train) =>
    new Set(
      list.map(({ probe: { emoji }, probe }) => {
        const found = corpus.locales.find((l) => l.names[emoji] === textOf(probe))!;
        return pairPart(corpus.emoji[emoji].code, found.locale);
      }),
    );
  expect(partsOf(train)).toEqual(new Set(['train']));
  expect(partsOf(measured)).toEqual(new Set(['test']));
});

test('a probe becomes an item: its text, or its drawing in the middle of white', () => {
  expect(itemOf({ emoji: 0, text: 'x' }, smallDrawings(), 28)).toEqual({ text: 'x' });
  const item = itemOf({ emoji: 3, style: 'noto' }, smallDrawings(), 28);
  const { data } = (item as { image: { data: Uint8Array } }).image;
  expect(Math.min(...data.slice(0, 3))).toBeGreaterThan(225);
  expect([...data.slice((14 * 28 + 14) * 3, (14 * 28 + 14) * 3 + 3)]).toEqual([30, 180, 200]);
});

test('families: every major language has one; a region has that of its language', () => {
  expect(MAJOR_LOCALES.filter((l) => familyOf(l) === 'other')).toEqual([]);
  expect(familyOf('pt-PT')).toBe('Romance');
  expect(familyOf('tlh')).toBe('other');
});
