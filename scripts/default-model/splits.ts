import { createHash } from 'node:crypto';
import { randomStream } from '../../src/adapters/combine/random-stream.ts';
import type { Corpus, LocaleTexts } from './emoji.ts';

/** `train` is learned from; `validation` chooses between runs; `test` is what gets reported. */
export type Part = 'train' | 'validation' | 'test';

const HELD_OUT_SHARE = 0.1;
const VALIDATION_SHARE = 0.2; // of what is held out
const SEED = 1; // another seed is another split, and numbers no longer compare

/** 'pt-PT' → 'pt': regional variants share their words, so they are held out together. */
export const languageOf = (locale: string): string => locale.split('-')[0];

function partOf(name: string): Part {
  const place = randomStream(SEED, name)();
  if (place >= HELD_OUT_SHARE) return 'train';
  return place < HELD_OUT_SHARE * VALIDATION_SHARE ? 'validation' : 'test';
}

/** Where all texts of an emoji in one language belong. */
export const pairPart = (code: string, locale: string): Part => partOf(`pair/${code}/${languageOf(locale)}`);

/**
 * Where one keyword of an emoji belongs, given that its pair is trained on. Case does not part keywords, and a keyword that
 * is the name in other letters goes with the name.
 */
export function keywordPart(code: string, locale: string, name: string | null, keyword: string): Part {
  const word = keyword.toLowerCase();
  return word === name?.toLowerCase() ? 'train' : partOf(`keyword/${code}/${languageOf(locale)}/${word}`);
}

/** Pictures in the held-out style: which emoji choose between runs, and which are reported. */
export const picturePart = (code: string): 'validation' | 'test' =>
  randomStream(SEED, `picture/${code}`)() < VALIDATION_SHARE ? 'validation' : 'test';

const LABELS_LEARNED = 0.4;
const LABELS_VALIDATION = 0.15;

/**
 * What may be done with the group and sub-group of an emoji: adapters learn them from `train`, recipes are chosen by
 * `validation`, and `test` is reported. Emoji that are drawn alike go together.
 */
export function labelPart({ emoji }: Corpus, index: number): Part {
  const place = randomStream(SEED, `label/${emoji[emoji[index].twin].code}`)();
  if (place < LABELS_LEARNED) return 'train';
  return place < LABELS_LEARNED + LABELS_VALIDATION ? 'validation' : 'test';
}

/** The texts of a locale that may be learned from: a held-out pair has none left. */
export function trainingTexts(corpus: Corpus, texts: LocaleTexts): LocaleTexts {
  const { locale } = texts;
  const open = corpus.emoji.map((e) => pairPart(e.code, locale) === 'train');
  return {
    locale,
    names: texts.names.map((name, i) => (open[i] ? name : null)),
    keywords: texts.keywords.map((keywords, i) => {
      const { code } = corpus.emoji[i];
      return open[i] ? keywords.filter((k) => keywordPart(code, locale, texts.names[i], k) === 'train') : [];
    }),
  };
}

type Count = { train: number; validation: number; test: number };
export type SplitSummary = {
  readonly seed: number;
  readonly emoji: number;
  /** Emoji drawn in each style. */
  readonly drawings: Readonly<Record<string, number>>;
  readonly pictures: Pick<Count, 'validation' | 'test'>;
  /** Emoji by what may be done with their labels. */
  readonly labels: Count;
  readonly pairs: Count;
  readonly keywords: Count;
  /** [names, keywords trained on, pairs held out, keywords held out] */
  readonly locales: Readonly<Record<string, readonly number[]>>;
  /** SHA-256 of every held-out pair and keyword, one a line, in the order of the corpus. */
  readonly sha256: string;
  /** SHA-256 of every emoji whose labels are held out, likewise. */
  readonly labelsSha256: string;
};

/** Counts of every part and a fingerprint: written down before training, so that anybody can check what was held out. */
export function summariseSplits(corpus: Corpus): SplitSummary {
  const hash = createHash('sha256');
  const labelHash = createHash('sha256');
  const labels: Count = { train: 0, validation: 0, test: 0 };
  const pairs: Count = { train: 0, validation: 0, test: 0 };
  const keywords: Count = { train: 0, validation: 0, test: 0 };
  const locales: Record<string, number[]> = {};
  for (const { locale, names, keywords: all } of corpus.locales) {
    const row = [0, 0, 0, 0];
    corpus.emoji.forEach(({ code }, i) => {
      if (names[i] === null && all[i].length === 0) return;
      const part = pairPart(code, locale);
      pairs[part]++;
      if (part !== 'train') {
        row[2]++;
        hash.update(`${part}\t${locale}\t${code}\n`);
        return;
      }
      if (names[i] !== null) row[0]++;
      for (const keyword of all[i]) {
        const word = keywordPart(code, locale, names[i], keyword);
        keywords[word]++;
        row[word === 'train' ? 1 : 3]++;
        if (word !== 'train') hash.update(`${word}\t${locale}\t${code}\t${keyword}\n`);
      }
    });
    locales[locale] = row;
  }
  const drawings: Record<string, number> = {};
  const pictures = { validation: 0, test: 0 };
  corpus.emoji.forEach((e, i) => {
    const part = labelPart(corpus, i);
    labels[part]++;
    if (part !== 'train') labelHash.update(`${part}\t${e.code}\n`);
    for (const style of Object.keys(e.drawings)) drawings[style] = (drawings[style] ?? 0) + 1;
    if (e.drawings.noto) pictures[picturePart(e.code)]++;
  });
  return {
    seed: SEED,
    emoji: corpus.emoji.length,
    drawings,
    pictures,
    labels,
    pairs,
    keywords,
    locales,
    sha256: hash.digest('hex'),
    labelsSha256: labelHash.digest('hex'),
  };
}
