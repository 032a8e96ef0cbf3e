import type { Item, Labelled } from '../../src/evaluate/index.ts';
import { drawView, PLAIN_VIEW } from './augment.ts';
import type { Drawings } from './drawings.ts';
import { type Corpus, HELD_OUT_STYLE, type LocaleTexts, type Style } from './emoji.ts';
import { familyOf } from './language-families.ts';
import { MAJOR_LOCALES } from './locales.ts';
import {
  keywordPart,
  labelPart,
  languageOf,
  type Part,
  pairPart,
  picturePart,
  trainingTexts,
} from './splits.ts';

/** Validation chooses between runs; test is reported. */
export type HeldOut = Exclude<Part, 'train'>;

/** Something to embed: a text, or the drawing of an emoji as it is (`PLAIN_VIEW`). */
export type Probe =
  | { readonly emoji: number; readonly text: string }
  | { readonly emoji: number; readonly style: Style };

/** Queries and what they are looked up in. `relevant[q]` are places in `documents`, at least one. */
export type RetrievalSet = {
  readonly locale: string;
  readonly family: string;
  readonly queries: readonly Probe[];
  readonly documents: readonly Probe[];
  readonly relevant: readonly (readonly number[])[];
};

/**
 * Names of a locale → pictures in the held-out style. Every picture is a candidate; queries are the names of the emoji of
 * `part`, whose texts in that language were trained on (`seen`) or held out as well (`unseen`).
 */
export function textToImage(
  corpus: Corpus,
  part: HeldOut,
  words: 'seen' | 'unseen',
): readonly RetrievalSet[] {
  const documents = pictures(corpus);
  const places = placesByTwin(corpus, documents);
  return corpus.locales.flatMap(({ locale, names }) => {
    const queries = documents.flatMap(({ emoji }) => {
      const { code } = corpus.emoji[emoji];
      const name = names[emoji];
      const wanted = name !== null && picturePart(code) === part && wordsAre(code, locale) === words;
      return wanted ? [{ emoji, text: name }] : [];
    });
    return retrievalSets(corpus, locale, queries, documents, places);
  });
}

/** Pictures in the held-out style → names of a locale. Every name is a candidate. */
export function imageToText(corpus: Corpus, part: HeldOut): readonly RetrievalSet[] {
  const shown = pictures(corpus).filter((p) => picturePart(corpus.emoji[p.emoji].code) === part);
  return corpus.locales.flatMap(({ locale, names }) => {
    const documents = namesIn(corpus, locale);
    const places = placesByTwin(corpus, documents);
    const queries = shown.filter((p) => names[p.emoji] !== null);
    return retrievalSets(corpus, locale, queries, documents, places);
  });
}

/**
 * Held-out names of a locale → names in English. Every English name is a candidate. Left out are names that training shows
 * for the same emoji in another language, letter by letter ("pizza"): those would measure memory.
 */
export function textToText(corpus: Corpus, part: HeldOut, target = 'en'): readonly RetrievalSet[] {
  const documents = namesIn(corpus, target);
  const places = placesByTwin(corpus, documents);
  const seen = trainedWords(corpus);
  return corpus.locales.flatMap(({ locale, names }) => {
    if (languageOf(locale) === languageOf(target)) return [];
    const queries = names.flatMap((text, emoji) =>
      text !== null &&
      pairPart(corpus.emoji[emoji].code, locale) === part &&
      !seen[emoji].has(text.toLowerCase())
        ? [{ emoji, text }]
        : [],
    );
    return retrievalSets(corpus, locale, queries, documents, places);
  });
}

/** Held-out keywords of a locale → pictures in the held-out style. A keyword finds every emoji that carries it. */
export function keywordToImage(corpus: Corpus, part: HeldOut): readonly RetrievalSet[] {
  const documents = pictures(corpus);
  const seen = trainedWords(corpus);
  return corpus.locales.flatMap(({ locale, names, keywords }) => {
    const found = new Map<string, { text: string; relevant: number[]; heldOut: boolean }>();
    documents.forEach(({ emoji }, place) => {
      const { code } = corpus.emoji[emoji];
      for (const text of keywords[emoji]) {
        const word = text.toLowerCase();
        const entry = found.get(word) ?? { text, relevant: [], heldOut: true };
        // One emoji on which training has seen the word is enough to have learned it.
        entry.heldOut &&=
          pairPart(code, locale) === 'train' &&
          keywordPart(code, locale, names[emoji], text) === part &&
          !seen[emoji].has(word);
        entry.relevant.push(place);
        found.set(word, entry);
      }
    });
    const kept = [...found.values()].filter((e) => e.heldOut);
    const queries = kept.map(({ text, relevant }) => ({ text, emoji: documents[relevant[0]].emoji }));
    const relevant = kept.map((e) => e.relevant);
    return kept.length === 0 ? [] : [{ locale, family: familyOf(locale), queries, documents, relevant }];
  });
}

export type LabelledProbe = { readonly probe: Probe; readonly label: string };
export type ClassificationSet = {
  readonly train: readonly LabelledProbe[];
  readonly test: readonly LabelledProbe[];
};

/** What a label is told from: pictures in the held-out style, or names in the 30 major languages. */
export type LabelSource = 'pictures' | 'names';

/**
 * Group or sub-group of CLDR. A classifier is fitted on emoji whose labels may be learned: their pictures, or a name of each that
 * is trained on. Asked about are emoji of `part`: their pictures, or their names that are held out. Labels with fewer than
 * `atLeast` items on a side are left out.
 */
export function classification(
  corpus: Corpus,
  part: HeldOut,
  from: LabelSource,
  label: 'group' | 'subgroup',
  atLeast = 3,
): ClassificationSet {
  const of = (wanted: Part) =>
    (from === 'pictures' ? pictures(corpus) : majorNames(corpus, wanted))
      .filter(({ emoji }) => labelPart(corpus, emoji) === wanted)
      .map((probe: Probe) => ({ probe, label: corpus.emoji[probe.emoji][label] }));
  const [train, test] = [of('train'), of(part)];
  const count = (list: readonly LabelledProbe[], l: string) => list.filter((p) => p.label === l).length;
  const kept = new Set(
    train.map((p) => p.label).filter((l) => count(train, l) >= atLeast && count(test, l) >= atLeast),
  );
  const known = (list: readonly LabelledProbe[]) => list.filter((p) => kept.has(p.label));
  return { train: known(train), test: known(test) };
}

/** Items of `part` with their label, for clusters that should come out as the labels. */
export const clustering = (
  corpus: Corpus,
  part: HeldOut,
  from: LabelSource,
  label: 'group' | 'subgroup',
): readonly LabelledProbe[] => classification(corpus, part, from, label, 1).test;

/** Of names that are held out one in so many is asked about: enough to tell adapters apart, in the minutes that there are. */
const NAMES_ASKED = 3;

/** Names by what may be done with them: of those that are trained on one for each emoji, the languages taking turns. */
function majorNames(corpus: Corpus, part: Part): readonly { emoji: number; text: string }[] {
  const locales = corpus.locales.filter((l) => MAJOR_LOCALES.includes(l.locale));
  const names = corpus.emoji.flatMap(({ code }, emoji) => {
    const said = locales.flatMap(({ locale, names }) => {
      const text = names[emoji];
      return text !== null && pairPart(code, locale) === part ? [{ emoji, text }] : [];
    });
    return part === 'train' && said.length > 0 ? [said[emoji % said.length]] : said;
  });
  return part === 'train' ? names : names.filter((_, i) => i % NAMES_ASKED === 0);
}

/** A probe as the evaluation commands take it; `size` is the side of a picture in pixels. */
export function itemOf(probe: Probe, drawings: Drawings, size: number): Item {
  if ('text' in probe) return { text: probe.text };
  const { width, height, data } = drawView(drawings.of(probe.style, probe.emoji)!, PLAIN_VIEW, size);
  return { image: { width, height, channels: 3, data } };
}

export const labelledItem = (
  { probe, label }: LabelledProbe,
  drawings: Drawings,
  size: number,
): Labelled => ({ item: itemOf(probe, drawings, size), label });

const pictures = (corpus: Corpus): readonly { emoji: number; style: Style }[] =>
  corpus.emoji.flatMap((e, emoji) => (e.drawings[HELD_OUT_STYLE] ? [{ emoji, style: HELD_OUT_STYLE }] : []));

const namesIn = (corpus: Corpus, locale: string): readonly { emoji: number; text: string }[] =>
  (corpus.locales.find((l) => l.locale === locale)?.names ?? []).flatMap((text, emoji) =>
    text === null ? [] : [{ emoji, text }],
  );

const wordsAre = (code: string, locale: string): 'seen' | 'unseen' =>
  pairPart(code, locale) === 'train' ? 'seen' : 'unseen';

/** Emoji that are drawn alike answer each other's queries. */
function placesByTwin(corpus: Corpus, documents: readonly Probe[]): ReadonlyMap<number, readonly number[]> {
  const places = new Map<number, number[]>();
  documents.forEach(({ emoji }, place) => {
    const { twin } = corpus.emoji[emoji];
    places.set(twin, [...(places.get(twin) ?? []), place]);
  });
  return places;
}

function retrievalSets(
  corpus: Corpus,
  locale: string,
  queries: readonly Probe[],
  documents: readonly Probe[],
  places: ReadonlyMap<number, readonly number[]>,
): readonly RetrievalSet[] {
  const answered = queries.filter((q) => places.has(corpus.emoji[q.emoji].twin));
  if (answered.length === 0) return [];
  const relevant = answered.map((q) => places.get(corpus.emoji[q.emoji].twin)!);
  return [{ locale, family: familyOf(locale), queries: answered, documents, relevant }];
}

/** Everything that training says of each emoji, in any language, in lower case. */
function trainedWords(corpus: Corpus): readonly ReadonlySet<string>[] {
  const words = corpus.emoji.map(() => new Set<string>());
  const learn = ({ names, keywords }: LocaleTexts) =>
    words.forEach((set, i) => {
      if (names[i] !== null) set.add(names[i].toLowerCase());
      for (const k of keywords[i]) set.add(k.toLowerCase());
    });
  for (const locale of corpus.locales) learn(trainingTexts(corpus, locale));
  return words;
}
