import { randomStream } from '../../src/adapters/combine/random-stream.ts';
import { type PatchOptions, patchify } from '../../src/image/patchify.ts';
import { textIds } from '../../src/text/prompts.ts';
import type { TextTokenizer } from '../../src/text/tokenizer.ts';
import { calmView, drawView, randomView, tintedView } from './augment.ts';
import type { Drawings } from './drawings.ts';
import { type Corpus, type LocaleTexts, MONOCHROME, type Style, TRAINING_STYLES } from './emoji.ts';
import { localeShares } from './locales.ts';
import { keywordCounts, type Phrase, randomName, randomPhrase } from './phrases.ts';
import { languageOf, trainingTexts } from './splits.ts';

/** One text for each emoji of a batch. */
export type TextSide = {
  readonly texts: readonly string[];
  readonly locales: readonly string[];
  /** With their prefix (`Query: ` or `Passage: `). */
  readonly ids: readonly Int32Array[];
  /** [B, B], 1 where text i also names emoji j, so that j is no negative of i. 1 on the diagonal. */
  readonly names: Uint8Array;
  /** All emoji that text i names besides its own.   [B] lists */
  readonly also: readonly (readonly number[])[];
};

export type Batch = {
  readonly step: number;
  /** Indexes into the corpus, all different.   [B] */
  readonly emoji: Int32Array;
  /** Emoji that are drawn alike, besides itself.   [B] lists */
  readonly twins: readonly (readonly number[])[];
  /** Queries in any language. */
  readonly first: TextSide;
  /** Queries or passages, each in another language than the first text of its emoji, where there is one. */
  readonly second: TextSide;
  /** One augmented drawing each.   [B · P, 3 · temporal · patch²] */
  readonly pixelValues: Float32Array;
  /** Grid of every image: all are alike. */
  readonly grid: readonly [1, number, number];
  readonly styles: readonly Style[];
};

export type SamplerOptions = {
  readonly corpus: Corpus;
  readonly drawings: Drawings;
  readonly tokenizer: TextTokenizer;
  readonly patches: PatchOptions;
  readonly batchSize: number;
  /** Side of an image in pixels: 56 gives 16 patches and 4 visual tokens. */
  readonly imageSize: number;
  /** Tokens of a text, its prefix included. */
  readonly maxLength: number;
  readonly seed: number;
  /** Texts are names alone. Default: keywords too. */
  readonly namesOnly?: boolean;
  /** Drawings stand whole before white. Default: every background, angle and colour. */
  readonly calm?: boolean;
};

/**
 * Training batches. `sample(step)` depends on seed and step alone: a run that stopped goes on by asking for its next step,
 * and several threads may each make some of the steps.
 *
 * Every emoji comes once before any comes twice; what does not fill a batch is left out of that round.
 */
export function createSampler(options: SamplerOptions): (step: number) => Batch {
  const { corpus, batchSize: B, seed } = options;
  const stylesOf = corpus.emoji.map((_, i) =>
    TRAINING_STYLES.filter((style) => options.drawings.of(style, i) !== null),
  );
  const locales = corpus.locales.map((l) => trainingTexts(corpus, l));
  const { namesOnly = false } = options;
  const sayable = corpus.emoji.map((_, i) =>
    locales.some((l) => l.names[i] !== null || (!namesOnly && l.keywords[i].length > 0)),
  );
  const usable = [...corpus.emoji.keys()].filter((i) => stylesOf[i].length > 0 && sayable[i]);
  if (usable.length < B)
    throw new RangeError(`a batch of ${B} different emoji was asked for; ${usable.length} can be trained on`);
  const rounds = Math.floor(usable.length / B);
  const drawPhrase = phraseSource(locales, namesOnly);
  const owners = corpus.locales.map(lazyOwners);
  const classes = corpus.emoji.map((e) => e.twin);
  const alike = new Map<number, number[]>();
  classes.forEach((twin, i) => {
    alike.set(twin, [...(alike.get(twin) ?? []), i]);
  });
  const twinsOf = (i: number) => alike.get(classes[i])!.filter((j) => j !== i);

  return (step) => {
    const random = randomStream(seed, `step ${step}`);
    const order = shuffled(usable, randomStream(seed, `round ${Math.floor(step / rounds)}`));
    const place = (step % rounds) * B;
    const emoji = Int32Array.from(order.slice(place, place + B));
    const first: Drawn[] = [];
    const second: Drawn[] = [];
    for (const i of emoji) {
      const one = drawPhrase(i, null, random);
      first.push(one);
      second.push(drawPhrase(i, languageOf(locales[one.locale].locale), random));
    }
    const side = (drawn: readonly Drawn[], passages: number): TextSide => ({
      texts: drawn.map((d) => d.phrase.text),
      locales: drawn.map((d) => locales[d.locale].locale),
      ids: drawn.map((d) =>
        textIds(options.tokenizer, d.phrase.text, {
          promptName: random() < passages ? 'passage' : 'query',
          maxLength: options.maxLength,
        }),
      ),
      names: namedPairs(drawn, emoji, (locale, word) => owners[locale](word), classes),
      also: drawn.map(({ locale, phrase }, i) => {
        const lists = phrase.words.map((word) => owners[locale](word));
        const named = (lists[0] ?? []).filter((j) => lists.every((list) => list.includes(j)));
        return [...new Set([...named.flatMap((j) => [j, ...twinsOf(j)]), ...twinsOf(emoji[i])])].filter(
          (j) => j !== emoji[i],
        );
      }),
    });
    const styles = Array.from(emoji, (i) => randomStyle(stylesOf[i], random));
    const { pixelValues, grid } = drawBatch(options, emoji, styles, random);
    return {
      step,
      emoji,
      twins: Array.from(emoji, twinsOf),
      first: side(first, 0),
      second: side(second, 0.5),
      pixelValues,
      grid,
      styles,
    };
  };
}

type Drawn = { readonly locale: number; readonly phrase: Phrase };

/** Draws a locale by its share, then a phrase; again while that locale says nothing of the emoji. */
function phraseSource(
  locales: readonly LocaleTexts[],
  namesOnly: boolean,
): (emoji: number, notIn: string | null, random: () => number) => Drawn {
  const sums: number[] = [];
  for (const share of localeShares(locales)) sums.push((sums.at(-1) ?? 0) + share);
  const counts = locales.map(keywordCounts);
  return (emoji, notIn, random) => {
    for (let attempt = 0; ; attempt++) {
      const place = random() * sums[sums.length - 1];
      const locale = Math.min(locales.length - 1, firstAbove(sums, place));
      // An emoji of one language only gets both texts from it.
      if (attempt < 50 && languageOf(locales[locale].locale) === notIn) continue;
      const phrase = namesOnly
        ? randomName(locales[locale], emoji, random)
        : randomPhrase(locales[locale], counts[locale], emoji, random);
      if (phrase) return { locale, phrase };
    }
  };
}

function firstAbove(sums: readonly number[], place: number): number {
  let low = 0;
  let high = sums.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sums[middle] > place) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** Word → the emoji that a locale calls by it, by name or keyword; built when first asked. Held-out words count too. */
function lazyOwners({ names, keywords }: LocaleTexts): (word: string) => readonly number[] {
  let known: Map<string, number[]> | null = null;
  const build = () => {
    const owners = new Map<string, number[]>();
    for (let i = 0; i < names.length; i++) {
      for (const word of new Set([names[i] ?? '', ...keywords[i]].map((w) => w.toLowerCase()))) {
        const list = owners.get(word);
        if (list) list.push(i);
        else owners.set(word, [i]);
      }
    }
    return owners;
  };
  return (word) => {
    known ??= build();
    return known.get(word.toLowerCase()) ?? [];
  };
}

/** [B, B]: whether all words of text i are said of emoji j, or j is drawn like i. */
function namedPairs(
  drawn: readonly Drawn[],
  emoji: Int32Array,
  ownersOf: (locale: number, word: string) => readonly number[],
  classes: readonly number[],
): Uint8Array {
  const B = emoji.length;
  const out = new Uint8Array(B * B);
  drawn.forEach(({ locale, phrase }, i) => {
    const lists = phrase.words.map((word) => ownersOf(locale, word));
    for (let j = 0; j < B; j++) {
      const alike = classes[emoji[i]] === classes[emoji[j]];
      if (alike || lists.every((owners) => owners.includes(emoji[j]))) out[i * B + j] = 1;
    }
  });
  return out;
}

/** How often a style comes, against the others that have a drawing. */
const styleShare = (style: Style): number => (MONOCHROME.has(style) ? 0.35 : 1);

function randomStyle(styles: readonly Style[], random: () => number): Style {
  let place = random() * styles.reduce((sum, style) => sum + styleShare(style), 0);
  for (const style of styles) {
    place -= styleShare(style);
    if (place < 0) return style;
  }
  return styles[0];
}

/** Share of pictures in which the drawing of another style shines through: between the styles lie others. */
const BLENDED = 0.4;

/** All pictures one below the other are one tall picture: its patches are those of the pictures, in their order. */
function drawBatch(
  { drawings, imageSize, patches, calm = false }: SamplerOptions,
  emoji: Int32Array,
  styles: readonly Style[],
  random: () => number,
): Pick<Batch, 'pixelValues' | 'grid'> {
  const size = imageSize * imageSize * 3;
  const pixels = new Uint8ClampedArray(emoji.length * size);
  emoji.forEach((e, i) => {
    const place = pixels.subarray(i * size, (i + 1) * size);
    const coloured = calm ? calmView(random) : randomView(random);
    const view = MONOCHROME.has(styles[i]) ? tintedView(coloured, random) : coloured;
    drawView(drawings.of(styles[i], e)!, view, imageSize, place);
    const [blended, share, pick] = [random() < BLENDED, 0.2 + 0.6 * random(), random()];
    const others = TRAINING_STYLES.filter((s) => s !== styles[i] && !MONOCHROME.has(s) && drawings.of(s, e));
    if (!blended || others.length === 0 || MONOCHROME.has(styles[i])) return;
    const other = drawView(drawings.of(others[Math.floor(pick * others.length)], e)!, view, imageSize);
    for (let p = 0; p < size; p++) place[p] = (1 - share) * place[p] + share * other.data[p];
  });
  const data = new Uint8Array(pixels.buffer);
  const { pixelValues } = patchify({ width: imageSize, height: emoji.length * imageSize, data }, patches);
  const side = imageSize / patches.patchSize;
  return { pixelValues, grid: [1, side, side] };
}

function shuffled(items: readonly number[], random: () => number): readonly number[] {
  const out = [...items];
  for (let i = out.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [out[i], out[j]] = [out[j], out[i]];
  }
  return out;
}
