import { expect, test } from 'vitest';
import type { Corpus } from './emoji.ts';
import { smallCorpus } from './small-corpus.ts';
import { labelPart } from './splits.ts';
import { type Taught, taughtLabels } from './taught-labels.ts';

/** 120 things of four kinds; the words of a thing tell its kind, as its group does. */
function corpusOfKinds(): Corpus {
  const things = [...Array(120).keys()];
  const [shape] = smallCorpus().emoji;
  const locale = (name: string) => ({
    locale: name,
    names: things.map((i) => `${name} number${i}`),
    keywords: things.map((i) => [`${name} kind ${i % 4}`, `${name} a ${i % 4}`]),
  });
  return {
    emoji: things.map((i) => ({
      ...shape,
      code: i.toString(16),
      group: `group ${i % 4}`,
      subgroup: `sub ${i % 4}`,
      twin: i,
    })),
    locales: [locale('de'), locale('en')],
  };
}

/** What an emoji is taught most to be, and how much. */
function best({ names, chances }: Taught, i: number): [string, number] {
  const most = Math.max(...chances[i]);
  return [names[chances[i].indexOf(most)], most];
}

test('labels that may be learned are taught as they are, others are guessed from shared words', async () => {
  const corpus = corpusOfKinds();
  const taught = await taughtLabels(corpus, 1);
  const hidden = corpus.emoji.flatMap((_, i) => (labelPart(corpus, i) === 'train' ? [] : [i]));
  expect(hidden.length).toBeGreaterThan(40);
  corpus.emoji.forEach((e, i) => {
    if (hidden.includes(i)) return;
    expect(best(taught.group, i)).toEqual([e.group, 1]);
    expect(best(taught.subgroup, i)).toEqual([e.subgroup, 1]);
  });
  const guesses = hidden.map((i) => best(taught.group, i));
  const right = guesses.filter(([name], k) => name === corpus.emoji[hidden[k]].group).length;
  expect(right / hidden.length).toBeGreaterThan(0.95);
  for (const [, chance] of guesses) expect(chance).toBeLessThan(1);
  for (const i of hidden) expect(taught.group.chances[i].reduce((a, b) => a + b)).toBeCloseTo(1, 5);
});

test('what is held out is not looked at: another label there changes nothing that is taught', async () => {
  const corpus = corpusOfKinds();
  const emoji = corpus.emoji.map((e, i) =>
    labelPart(corpus, i) === 'train' ? e : { ...e, group: 'group 0', subgroup: 'unheard of' },
  );
  expect(await taughtLabels({ ...corpus, emoji }, 1)).toEqual(await taughtLabels(corpus, 1));
});
