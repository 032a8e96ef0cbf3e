import { byteLevelTokenizer } from '../../bench/make-checkpoint/tokenizer-files.ts';
import { type Merge, trainBpe } from './bpe.ts';
import type { LocaleTexts } from './emoji.ts';
import { localeShares } from './locales.ts';
import { allTemplates } from './phrases.ts';

/** Words of the model's own prompts: few tokens for what stands before every text and around every image. */
const PROMPTS = ['Query: ', 'Passage: ', 'user\n', 'Describe the image.', 'A', 'a', 'an', 'the', 'of'];
const PROMPT_SHARE = 0.02;

// Between "as often as the model will see it" (1) and "every language alike" (0): rare scripts need tokens too.
const TEMPERATURE = 0.6;
const TOTAL = 1e9; // weight of all words together; whole numbers, each at least 1

type BaseTokenizer = {
  readonly added_tokens: readonly { readonly id: number; readonly content: string }[];
  readonly model: { readonly vocab: Readonly<Record<string, number>> };
};

/**
 * `tokenizer.json` of the Qwen2 kind with a vocabulary learned from the training texts.
 * Ids: 256 bytes, merges, then the 22 control tokens of the family; `size` counts all of them.
 */
export function trainTokenizer(
  locales: readonly LocaleTexts[],
  {
    size,
    onProgress,
  }: { readonly size: number; readonly onProgress?: (done: number, total: number) => void },
): Record<string, unknown> {
  const { added_tokens } = byteLevelTokenizer() as BaseTokenizer;
  const merges = trainBpe(weightedWords(locales), { symbols: size - 256 - added_tokens.length }, onProgress);
  return withMerges(merges);
}

/** The byte-level tokenizer with these merges in front of its control tokens. */
export function withMerges(merges: readonly Merge[]): Record<string, unknown> {
  const base = byteLevelTokenizer() as BaseTokenizer;
  const symbol = Object.keys(base.model.vocab); // the 256 stand-ins, by id
  const bytes = byteIds(symbol);
  const idOf = (s: number) => (s < 256 ? bytes[s] : s);
  for (const [left, right, joined] of merges) symbol[joined] = symbol[idOf(left)] + symbol[idOf(right)];
  return {
    ...base,
    added_tokens: base.added_tokens.map((t, i) => ({ ...t, id: symbol.length + i })),
    model: {
      ...base.model,
      vocab: Object.fromEntries(symbol.map((s, id) => [s, id])),
      merges: merges.map(([left, right]) => `${symbol[idOf(left)]} ${symbol[idOf(right)]}`),
    },
  };
}

/** Byte value → id: bytes that are characters of Latin-1 stand for themselves, the others follow from U+0100 on. */
function byteIds(symbols: readonly string[]): readonly number[] {
  const ids = new Map(symbols.map((s, id) => [s.charCodeAt(0), id]));
  let hidden = 256;
  return Array.from({ length: 256 }, (_, byte) => ids.get(byte) ?? ids.get(hidden++)!);
}

/** The family's split of a text into words; a text always stands behind a prefix, so a space goes before it. */
export function* splitWords(text: string): Generator<string> {
  for (const [word] of text.normalize('NFC').matchAll(SPLIT)) yield word;
}

const SPLIT =
  /'(?:[sS]|[tT]|[rR][eE]|[vV][eE]|[mM]|[lL][lL]|[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+/gu;

/** Words of all locales. A locale weighs by how often it is drawn in training, flattened by the temperature. */
export function weightedWords(locales: readonly LocaleTexts[]): ReadonlyMap<string, number> {
  const shares = localeShares(locales).map((s) => s ** TEMPERATURE);
  const sum = shares.reduce((a, b) => a + b, 0);
  const words = new Map<string, number>();
  const spread = (texts: readonly string[], share: number) => {
    const counts = new Map<string, number>();
    let total = 0;
    for (const text of texts) {
      for (const word of splitWords(text)) {
        counts.set(word, (counts.get(word) ?? 0) + 1);
        total++;
      }
    }
    for (const [word, count] of counts) {
      words.set(word, (words.get(word) ?? 0) + Math.max(1, Math.round((count / total) * share * TOTAL)));
    }
  };
  const templates = allTemplates();
  locales.forEach(({ locale, names, keywords }, i) => {
    // A name is drawn about as often as all keywords of its emoji together.
    const texts = names.flatMap((name, e) => [
      ...Array.from({ length: name === null ? 0 : Math.max(1, keywords[e].length) }, () => ` ${name}`),
      ...keywords[e].map((k) => ` ${k}`),
    ]);
    const mine = templates.filter(([l]) => l === locale).map(([, t]) => ` ${t.replace('{}', '')}`);
    const often = Math.ceil(texts.length / 20 / Math.max(1, mine.length));
    spread([...texts, ...Array.from({ length: often }, () => mine).flat()], shares[i] / sum);
  });
  spread(
    PROMPTS.flatMap((p) => [p, ` ${p}`]),
    PROMPT_SHARE,
  );
  return words;
}
