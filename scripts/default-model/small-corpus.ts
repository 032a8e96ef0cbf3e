import { type Drawings, indexDrawings } from './drawings.ts';
import { type Corpus, STYLES, type Style } from './emoji.ts';

const THINGS = 24;
const SIDE = 8;

/** A corpus for tests: 24 things in four locales, two of them of one language; the last two things are twins. */
export function smallCorpus(): Corpus {
  const things = [...Array(THINGS).keys()];
  const locale = (name: string, word: string) => ({
    locale: name,
    names: things.map((i) => `${word} ${i}`),
    keywords: things.map((i) => [`${word}${i % 3}`, `${word} kind ${i}`, 'shared']),
  });
  return {
    emoji: things.map((i) => ({
      code: (0x1f400 + i).toString(16),
      characters: String.fromCodePoint(0x1f400 + i),
      name: `thing ${i}`,
      group: i % 2 === 0 ? 'even' : 'odd',
      subgroup: `third-${i % 3}`,
      drawings: Object.fromEntries(STYLES.map((style) => [style, `thing-${i}`])),
      twin: i === THINGS - 1 ? THINGS - 2 : i,
    })),
    locales: [
      locale('de', 'Ding'),
      locale('en', 'thing'),
      locale('pt', 'coisa'),
      locale('pt-PT', 'coisa lusa'),
    ],
  };
}

/** One colour for each drawing, over the whole square. */
export function smallDrawings(): Drawings {
  const entries = STYLES.flatMap((style) =>
    [...Array(THINGS).keys()].map((i) => [style, i] as [Style, number]),
  );
  const pixels = new Uint8Array(entries.length * SIDE * SIDE * 4);
  entries.forEach(([style, i], k) => {
    const colour = [i * 10, STYLES.indexOf(style) * 20, 200, 255];
    for (let p = 0; p < SIDE * SIDE; p++) pixels.set(colour, (k * SIDE * SIDE + p) * 4);
  });
  return indexDrawings({ side: SIDE, entries, pixels });
}
