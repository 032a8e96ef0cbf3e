import { fitLogistic, logisticChances } from '../../src/evaluate/logistic-regression.ts';
import type { Corpus } from './emoji.ts';
import { meanings } from './meanings.ts';
import { labelPart } from './splits.ts';

export const LABELS = ['group', 'subgroup'] as const;
export type Label = (typeof LABELS)[number];

const WIDTH = 160;
/** Chosen on the labels of `validation` among 1, 10 and 100: right for 90 % of groups and 74 % of sub-groups there. */
const C = 10;

/** Names of a label, sorted, and for each emoji how much it is taught to be of each.   chances: N × [names] */
export type Taught = { readonly names: readonly string[]; readonly chances: readonly Float32Array[] };

/**
 * What adapters are taught of each emoji: its own labels where they may be learned, and elsewhere what a logistic regression
 * makes of the words that it shares with others (`meanings`). No label that is held out is looked at.
 */
export async function taughtLabels(corpus: Corpus, seed: number): Promise<Readonly<Record<Label, Taught>>> {
  const vectors = await meanings(corpus, Math.min(WIDTH, corpus.emoji.length), seed);
  const open = [...corpus.emoji.keys()].filter((i) => labelPart(corpus, i) === 'train');
  const own = new Set(open);
  const taught = async (label: Label): Promise<Taught> => {
    const model = await fitLogistic(
      open.map((i) => vectors[i]),
      open.map((i) => corpus.emoji[i][label]),
      { c: C, tolerance: 1e-4, maxIterations: 200 },
    );
    const chances = corpus.emoji.map((e, i) =>
      own.has(i)
        ? Float32Array.from(model.labels, (name) => (name === e[label] ? 1 : 0))
        : Float32Array.from(logisticChances(model, vectors[i])),
    );
    return { names: model.labels, chances };
  };
  return { group: await taught('group'), subgroup: await taught('subgroup') };
}
