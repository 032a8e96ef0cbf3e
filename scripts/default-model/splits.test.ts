import { expect, test } from 'vitest';
import { smallCorpus } from './small-corpus.ts';
import { keywordPart, labelPart, pairPart, picturePart, summariseSplits, trainingTexts } from './splits.ts';

const codes = Array.from({ length: 4000 }, (_, i) => i.toString(16));
const share = (hit: (code: string) => boolean) => codes.filter(hit).length / codes.length;

test('a tenth is held out, a fifth of it for validation', () => {
  expect(share((c) => pairPart(c, 'de') !== 'train')).toBeCloseTo(0.1, 1);
  expect(share((c) => pairPart(c, 'de') === 'validation')).toBeCloseTo(0.02, 1);
  expect(share((c) => keywordPart(c, 'de', 'Apfel', 'Obst') !== 'train')).toBeCloseTo(0.1, 1);
  expect(share((c) => picturePart(c) === 'validation')).toBeCloseTo(0.2, 1);
});

test('labels: two fifths are learned, a seventh chooses; what is drawn alike goes together', () => {
  const emoji = codes.map((code, twin) => ({ ...smallCorpus().emoji[0], code, twin: twin - (twin % 2) }));
  const corpus = { emoji, locales: [] };
  const parts = codes.map((_, i) => labelPart(corpus, i));
  for (const [part, wanted] of [
    ['train', 0.4],
    ['validation', 0.15],
  ] as const)
    expect(parts.filter((p) => p === part).length / codes.length).toBeCloseTo(wanted, 1);
  for (let i = 0; i < codes.length; i += 2) expect(parts[i]).toBe(parts[i + 1]);
});

test('regional variants of a language and letters of another case are held out together', () => {
  for (const c of codes.slice(0, 300)) {
    expect(pairPart(c, 'pt-PT')).toBe(pairPart(c, 'pt'));
    expect(keywordPart(c, 'pt-PT', null, 'Maçã')).toBe(keywordPart(c, 'pt', null, 'maçã'));
  }
});

test('a keyword that is the name goes with the name', () => {
  expect(share((c) => keywordPart(c, 'de', 'Apfel', 'apfel') === 'train')).toBe(1);
});

test('training texts hold no held-out pair and no held-out keyword', () => {
  const corpus = smallCorpus();
  let heldOut = 0;
  for (const texts of corpus.locales) {
    const training = trainingTexts(corpus, texts);
    corpus.emoji.forEach(({ code }, i) => {
      const open = pairPart(code, texts.locale) === 'train';
      if (!open) heldOut++;
      expect(training.names[i]).toBe(open ? texts.names[i] : null);
      const kept = texts.keywords[i].filter(
        (k) => open && keywordPart(code, texts.locale, texts.names[i], k) === 'train',
      );
      expect(training.keywords[i]).toEqual(kept);
    });
  }
  expect(heldOut).toBeGreaterThan(0);
});

test('the summary counts every text once and changes its fingerprint with the texts', () => {
  const corpus = smallCorpus();
  const { pairs, pictures, labels, keywords, locales, sha256 } = summariseSplits(corpus);
  const all = corpus.emoji.length * corpus.locales.length;
  expect(pairs.train + pairs.validation + pairs.test).toBe(all);
  expect(pictures.validation + pictures.test).toBe(corpus.emoji.length);
  expect(labels.train + labels.validation + labels.test).toBe(corpus.emoji.length);
  expect(keywords.train + keywords.validation + keywords.test).toBe(3 * pairs.train);
  const column = (k: number) => Object.values(locales).reduce((sum, row) => sum + row[k], 0);
  expect([column(0), column(2)]).toEqual([pairs.train, all - pairs.train]);
  const [first, ...others] = corpus.locales;
  const renamed = { ...first, keywords: first.keywords.map((list) => list.map((k) => `${k}!`)) };
  expect(summariseSplits({ ...corpus, locales: [renamed, ...others] }).sha256).not.toBe(sha256);
});
