import type { Settings } from '../config.ts';
import { InputError } from '../errors.ts';
import {
  type EvaluationRun,
  embedVectors,
  type PlacedItem,
  type Report,
  type Score,
  startRun,
} from './encoder.ts';
import { accuracy, macroF1 } from './label-metrics.ts';
import { fitLogistic, predictLogistic } from './logistic-regression.ts';
import { atSize } from './matryoshka.ts';
import { predictNearest } from './nearest-neighbours.ts';
import { filesFirst } from './places.ts';

export type Labelled = PlacedItem & { readonly label: string };

export type ClassificationOptions = {
  readonly promptName?: Settings['promptName'];
  /** Neighbours that vote. Default 5. */
  readonly neighbours?: number;
};

// Far below what a prediction can see; scikit-learn stops at 1e-4 and 100.
const FIT = { tolerance: 1e-6, maxIterations: 1000 };

/**
 * How well frozen embeddings tell labels apart: a logistic regression and a vote of the nearest neighbours, both trained on
 * `train` and asked about `test`. Accuracy and macro F1 of each.
 */
export async function evaluateClassification(
  { train, test }: { readonly train: readonly Labelled[]; readonly test: readonly Labelled[] },
  options: EvaluationRun,
  { promptName = 'query', neighbours = 5 }: ClassificationOptions = {},
): Promise<Report> {
  checkLabels(train, test);
  const run = startRun(options, train.length + test.length);
  const [known, truth] = [train.map((t) => t.label), test.map((t) => t.label)];
  const scores: Score[] = [];
  for (const task of run.adapters) {
    const embed = (set: readonly Labelled[]) => embedVectors(run, set, { task, promptName });
    const [learnt, asked] = [await embed(train), await embed(test)];
    for (const size of run.sizes) {
      const cut = (vectors: readonly Float32Array[]) => vectors.map((v) => atSize(v, size));
      const [from, to] = [cut(learnt), cut(asked)];
      const model = await fitLogistic(from, known, { ...FIT, turn: run.turn });
      const logistic = to.map((v) => predictLogistic(model, v));
      const nearest: string[] = [];
      for (const v of to) {
        nearest.push(predictNearest({ vectors: from, labels: known }, v, neighbours));
        await run.turn();
      }
      const metrics = {
        accuracy: accuracy(logistic, truth),
        macroF1: macroF1(logistic, truth),
        knnAccuracy: accuracy(nearest, truth),
        knnMacroF1: macroF1(nearest, truth),
      };
      scores.push({ adapter: task, size, metrics });
    }
  }
  const counts = { train: train.length, test: test.length, labels: new Set(known).size, neighbours };
  return { task: 'classification', multivector: false, counts, scores };
}

/** @throws InputError for an empty side, training items of one label, and labels that only the test items have */
export function checkLabels(train: readonly Labelled[], test: readonly Labelled[]): void {
  if (train.length === 0 || test.length === 0)
    throw new InputError(
      `classification needs items to learn from and items to be asked about; there are ${train.length} and ${test.length}`,
    );
  const known = new Set(train.map((t) => t.label));
  if (known.size < 2)
    throw new InputError(
      `${filesFirst(train)}all ${train.length} training items have the label ${JSON.stringify(train[0].label)}; ` +
        'classification needs two labels or more to tell apart',
    );
  const places = new Map<string, string | undefined>();
  for (const { label, where } of test) if (!known.has(label) && !places.has(label)) places.set(label, where);
  const strange = [...places];
  if (strange.length === 0) return;
  const named = strange
    .slice(0, 5)
    .map(([label, where]) => `${JSON.stringify(label)}${where === undefined ? '' : ` (${where})`}`);
  throw new InputError(
    `${strange.length} labels of the test items never occur in training and could not be predicted: ` +
      `${named.join(', ')}${strange.length > 5 ? ', …' : ''}; add training items for them, or leave those test items out`,
  );
}
