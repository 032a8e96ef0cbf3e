import type { LocaleTexts } from './emoji.ts';
import { languageOf } from './splits.ts';

// biome-ignore format: a table
/** Languages with a full table that most people who try the model read. They share MAJOR_SHARE of all texts. */
export const MAJOR_LOCALES: readonly string[] = [
  'en', 'zh', 'es', 'hi', 'ar', 'fr', 'bn', 'pt', 'ru', 'ur',
  'id', 'de', 'ja', 'te', 'tr', 'ta', 'ko', 'vi', 'it', 'th',
  'pl', 'uk', 'nl', 'fa', 'ro', 'sv', 'el', 'cs', 'he', 'fi',
];

/** The languages with most emoji named, and of those the ones with most keywords, by their best locale. */
export function bestCovered(locales: readonly LocaleTexts[], count = 30): readonly string[] {
  const covered = locales
    .map(({ locale, names, keywords }) => ({
      locale,
      named: names.filter((n) => n !== null).length,
      keywords: keywords.reduce((sum, k) => sum + k.length, 0),
    }))
    .sort((a, b) => b.named - a.named || b.keywords - a.keywords);
  const best = new Map<string, string>();
  for (const { locale } of covered) if (!best.has(languageOf(locale))) best.set(languageOf(locale), locale);
  return [...best.values()].slice(0, count);
}

const MAJOR_SHARE = 0.6;
const ENGLISH_SHARE = 0.1; // of all texts, inside the share of the major ones

/** How often a text is drawn from each locale; sums to 1. Small tables are drawn by the square root of their texts. */
export function localeShares(locales: readonly LocaleTexts[]): readonly number[] {
  const major = locales.map((l) => MAJOR_LOCALES.includes(l.locale));
  const english = locales.some((l) => l.locale === 'en') ? ENGLISH_SHARE : 0;
  const weights = locales.map((l, i) =>
    l.locale === 'en' ? 0 : major[i] ? 1 : Math.sqrt(l.names.filter((n) => n !== null).length),
  );
  const total = (kind: boolean) => weights.reduce((sum, w, i) => (major[i] === kind ? sum + w : sum), 0);
  const [majors, others] = [total(true), total(false)];
  const shares = weights.map((w, i) =>
    locales[i].locale === 'en'
      ? english
      : major[i]
        ? (w / majors) * (MAJOR_SHARE - english)
        : (w / others) * (1 - MAJOR_SHARE),
  );
  const sum = shares.reduce((a, b) => a + b, 0); // below 1 where a fixture has only one kind
  return shares.map((s) => s / sum);
}
