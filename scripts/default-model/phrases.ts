import type { LocaleTexts } from './emoji.ts';

/** A text about one emoji, and the words of CLDR that it is made of. */
export type Phrase = { readonly text: string; readonly words: readonly string[] };

// biome-ignore format: a table
const TEMPLATES: Readonly<Record<string, readonly string[]>> = {
  en: [
    'a picture of {}', 'an emoji of {}', 'a drawing of {}', 'an icon that shows {}', 'an image of {}',
    'this is {}', '{} emoji', 'the {}', 'a small picture: {}', 'show me {}',
  ],
  zh: ['{}的图片', '一张{}的图', '{}表情符号'],
  es: ['una imagen de {}', 'un emoji de {}', 'un dibujo: {}'],
  hi: ['{} का चित्र', '{} की तस्वीर'],
  ar: ['صورة {}', 'رمز تعبيري: {}'],
  fr: ['une image : {}', 'un dessin : {}', 'émoji {}'],
  bn: ['{} এর ছবি'],
  pt: ['uma imagem de {}', 'um desenho: {}', 'emoji de {}'],
  ru: ['изображение: {}', 'картинка: {}', 'эмодзи «{}»'],
  ur: ['{} کی تصویر'],
  id: ['gambar {}', 'emoji {}'],
  de: ['ein Bild: {}', 'ein Bild von {}', 'eine Zeichnung: {}', '{} als Emoji'],
  ja: ['{}の絵', '{}の画像', '{}の絵文字'],
  te: ['{} చిత్రం'],
  tr: ['{} resmi', '{} emojisi'],
  ta: ['{} படம்'],
  ko: ['{} 그림', '{} 이모지', '{} 사진'],
  vi: ['hình ảnh {}', 'biểu tượng {}'],
  it: ["un'immagine di {}", 'un disegno: {}', 'emoji: {}'],
  th: ['รูป{}', 'ภาพ{}'],
  pl: ['obrazek: {}', 'rysunek: {}'],
  uk: ['зображення: {}', 'малюнок: {}'],
  nl: ['een afbeelding van {}', 'een tekening: {}'],
  fa: ['تصویر {}'],
  ro: ['o imagine cu {}', 'un desen: {}'],
  sv: ['en bild på {}', 'en teckning: {}'],
  el: ['εικόνα: {}'],
  cs: ['obrázek: {}', 'kresba: {}'],
  he: ['תמונה של {}'],
  fi: ['kuva: {}', 'piirros: {}'],
};

/** Every template, for a tokenizer to learn its words from. */
export const allTemplates = (): readonly (readonly [locale: string, template: string])[] =>
  Object.entries(TEMPLATES).flatMap(([locale, list]) => list.map((t) => [locale, t] as const));

/** How often each keyword of a locale stands on an emoji. A word of few emoji says more than one of many. */
export const keywordCounts = ({ keywords }: LocaleTexts): ReadonlyMap<string, number> => {
  const counts = new Map<string, number>();
  for (const list of keywords) for (const k of list) counts.set(k, (counts.get(k) ?? 0) + 1);
  return counts;
};

/** The name of emoji `i` in one locale, as it is or in a template; null where it has none. */
export function randomName(texts: LocaleTexts, i: number, random: () => number): Phrase | null {
  const name = texts.names[i];
  if (name === null) return null;
  return cased(random() < 0.7 ? name : inTemplate(texts.locale, name, random), [name], random);
}

/**
 * A text about emoji `i` in one locale: its name (half of the time), a keyword, name and keyword, or either in a template.
 * Null where the locale says nothing about it.
 */
export function randomPhrase(
  texts: LocaleTexts,
  counts: ReadonlyMap<string, number>,
  i: number,
  random: () => number,
): Phrase | null {
  const name = texts.names[i];
  const keywords = texts.keywords[i];
  const keyword = pickKeyword(keywords, counts, random);
  const words = [name, keyword].filter((w) => w !== null);
  if (words.length === 0) return null;
  const kind = random();
  const [first] = words;
  if (kind < 0.5 || words.length === 1)
    return cased(kind < 0.35 ? first : inTemplate(texts.locale, first, random), [first], random);
  if (kind < 0.75) return cased(words[1], [words[1]], random);
  if (kind < 0.9) return cased(words.join(', '), words, random);
  return cased(inTemplate(texts.locale, words[1], random), [words[1]], random);
}

function pickKeyword(
  keywords: readonly string[],
  counts: ReadonlyMap<string, number>,
  random: () => number,
): string | null {
  const weights = keywords.map((k) => 1 / Math.sqrt(counts.get(k) ?? 1));
  let place = random() * weights.reduce((a, b) => a + b, 0);
  for (let k = 0; k < keywords.length; k++) {
    place -= weights[k];
    if (place < 0) return keywords[k];
  }
  return keywords.at(-1) ?? null; // rounding may leave a rest
}

/** English has an article of its own; elsewhere the templates are written so that a bare word fits. */
function inTemplate(locale: string, word: string, random: () => number): string {
  const templates = TEMPLATES[locale];
  if (!templates) return word;
  if (locale !== 'en') return templates[Math.floor(random() * templates.length)].replace('{}', () => word);
  const noun = random() < 0.5 ? word : `${/^[aeiou]/i.test(word) ? 'an' : 'a'} ${word}`;
  const place = Math.floor(random() * (templates.length + 2));
  return place < templates.length ? templates[place].replace('{}', () => noun) : noun;
}

/** One text in six is written otherwise: people do not mind capitals. */
function cased(text: string, words: readonly string[], random: () => number): Phrase {
  const kind = random();
  const first = String.fromCodePoint(text.codePointAt(0)!);
  if (kind < 0.08) return { text: text.toLowerCase(), words };
  if (kind < 0.16) return { text: first.toUpperCase() + text.slice(first.length), words };
  return { text, words };
}
