import { expect, test } from 'vitest';
import { byteLevelTokenizer, tokenizerConfig } from '../../bench/make-checkpoint/tokenizer-files.ts';
import { randomStream } from '../../src/adapters/combine/random-stream.ts';
import { patchify } from '../../src/image/patchify.ts';
import { createTokenizer } from '../../src/text/tokenizer.ts';
import { localeShares, MAJOR_LOCALES } from './locales.ts';
import { createSampler, type SamplerOptions } from './sampler.ts';
import { smallCorpus, smallDrawings } from './small-corpus.ts';
import { languageOf, pairPart, trainingTexts } from './splits.ts';

const corpus = smallCorpus();
const options: SamplerOptions = {
  corpus,
  drawings: smallDrawings(),
  tokenizer: createTokenizer(byteLevelTokenizer(), tokenizerConfig()),
  patches: {
    patchSize: 14,
    temporalPatchSize: 2,
    mergeSize: 2,
    imageMean: [0.5, 0.5, 0.5],
    imageStd: [0.25, 0.25, 0.25],
    rescaleFactor: 1 / 255,
  },
  batchSize: 10,
  imageSize: 56,
  maxLength: 20,
  seed: 3,
};
const steps = Array.from({ length: 30 }, (_, step) => step);

test('a batch depends on seed and step alone', () => {
  const sample = createSampler(options);
  const later = sample(7);
  sample(2);
  expect(sample(7)).toEqual(later);
  expect(createSampler(options)(7)).toEqual(later);
  expect(createSampler({ ...options, seed: 4 })(7).emoji).not.toEqual(later.emoji);
});

test('emoji of a batch differ, and a round shows none twice', () => {
  const sample = createSampler(options);
  for (const step of steps.filter((s) => s % 2 === 0)) {
    const round = [...sample(step).emoji, ...sample(step + 1).emoji];
    expect(new Set(round).size).toBe(20);
  }
});

test('shapes: 16 patches an image, ids with their prefix cut to the length', () => {
  const { pixelValues, grid, first, second, styles } = createSampler(options)(0);
  expect(pixelValues.length).toBe(10 * 16 * 1176);
  expect(grid).toEqual([1, 4, 4]);
  const prefix = (text: string) => [...options.tokenizer.encode(text)];
  for (const ids of first.ids) {
    expect([...ids.slice(0, 7)]).toEqual(prefix('Query: '));
    expect(ids.length).toBeLessThanOrEqual(20);
  }
  const passages = second.ids.filter((ids) => ids[0] === prefix('P')[0]);
  expect(passages.length).toBeGreaterThan(0);
  expect(passages.length).toBeLessThan(10);
  expect(styles).not.toContain('noto');
});

test('pictures below each other have the patches of the pictures, in their order', () => {
  const random = randomStream(1, 'pixels');
  const data = Uint8Array.from({ length: 3 * 56 * 56 * 3 }, () => 256 * random());
  const size = data.length / 3;
  const tall = patchify({ width: 56, height: 3 * 56, data }, options.patches).pixelValues;
  for (let i = 0; i < 3; i++) {
    const one = { width: 56, height: 56, data: data.subarray(i * size, (i + 1) * size) };
    const { pixelValues } = patchify(one, options.patches);
    expect(tall.subarray(i * 16 * 1176, (i + 1) * 16 * 1176)).toEqual(pixelValues);
  }
});

test('no text of a held-out pair is drawn, and two texts of an emoji are of two languages', () => {
  const sample = createSampler(options);
  const training = new Map(corpus.locales.map((l) => [l.locale, trainingTexts(corpus, l)]));
  for (const step of steps) {
    const { emoji, first, second } = sample(step);
    for (const side of [first, second]) {
      emoji.forEach((e, i) => {
        expect(pairPart(corpus.emoji[e].code, side.locales[i])).toBe('train');
        const { names, keywords } = training.get(side.locales[i])!;
        const text = side.texts[i].toLowerCase();
        expect([names[e]!, ...keywords[e]].some((w) => text.includes(w.toLowerCase()))).toBe(true);
      });
    }
    emoji.forEach((e, i) => {
      const languages = new Set(
        [...training.values()].filter((l) => l.names[e] !== null).map((l) => languageOf(l.locale)),
      );
      const same = languageOf(first.locales[i]) === languageOf(second.locales[i]);
      if (languages.size > 1) expect(same).toBe(false);
    });
  }
});

test('texts that name two emoji of a batch say so: shared keywords, and twins', () => {
  const sample = createSampler(options);
  let shared = 0;
  let twins = 0;
  for (const step of steps) {
    const { emoji, first } = sample(step);
    first.texts.forEach((text, i) => {
      const row = first.names.subarray(i * 10, i * 10 + 10);
      expect(row[i]).toBe(1);
      if (text.toLowerCase() === 'shared') {
        shared++;
        expect([...row]).toEqual(Array(10).fill(1));
      } else if (/^\w+( lusa)? \d+$/i.test(text)) {
        emoji.forEach((e, j) => {
          expect(row[j]).toBe(corpus.emoji[e].twin === corpus.emoji[emoji[i]].twin ? 1 : 0);
          if (row[j] === 1 && i !== j) twins++;
        });
      }
    });
  }
  expect(shared).toBeGreaterThan(0);
  expect(twins).toBeGreaterThan(0);
});

test('more emoji than there are is an error with both numbers', () => {
  expect(() => createSampler({ ...options, batchSize: 25 })).toThrow(/25 .* 24/);
});

test('shares sum to 1: English a tenth, the major languages 60 %', () => {
  const names = [...MAJOR_LOCALES, 'hsb', 'cv', 'en-AU'];
  const full = corpus.locales[0];
  const shares = localeShares(names.map((locale) => ({ ...full, locale })));
  const sum = (from: number, to: number) => shares.slice(from, to).reduce((a, b) => a + b, 0);
  expect(sum(0, names.length)).toBeCloseTo(1, 10);
  expect(shares[names.indexOf('en')]).toBeCloseTo(0.1, 10);
  expect(sum(0, MAJOR_LOCALES.length)).toBeCloseTo(0.6, 10);
});

test('names only: every text is made of the name of its emoji', () => {
  const sample = createSampler({ ...options, namesOnly: true });
  for (const step of steps.slice(0, 5)) {
    const { emoji, first } = sample(step);
    emoji.forEach((e, i) => {
      const { names } = corpus.locales.find((l) => l.locale === first.locales[i])!;
      expect(first.texts[i].toLowerCase()).toContain(names[e]!.toLowerCase());
    });
  }
});
