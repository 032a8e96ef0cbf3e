import { InputError } from '../errors.ts';
import type { Placed } from '../evaluate/places.ts';
import type { TrainBatch } from './gradients.ts';
import { coSent } from './losses/co-sent.ts';
import { infoNce } from './losses/info-nce.ts';
import type { Views } from './losses/side.ts';
import { triplet } from './losses/triplet.ts';
import { type Lesson, nothingToLearn } from './nothing-to-learn.ts';
import { type ScoredDocuments, type TaughtVector, taughtBatch } from './taught-batch.ts';
import type { TrainInput } from './train-input.ts';

/** What one example is: a pair, or what a teacher says of it. All examples of a run are of one kind. */
export type Example = Placed & (PairExample | ScoredDocuments | TaughtVector);

/** A pair that belongs together, perhaps with documents that do not, or with a score of how much it does. */
export type PairExample = {
  readonly anchor: TrainInput;
  readonly positive: TrainInput;
  readonly negatives?: readonly TrainInput[];
  readonly score?: number;
};

/** Examples by index: an array, or what reads them when they are asked for. */
export type ExampleSource = {
  readonly length: number;
  at(index: number): Example | Promise<Example> | undefined;
  /** What is known of every example before it is read, so that data without a lesson is told before the run. */
  readonly records?: readonly Lesson[];
};

export type LossKind = 'infoNce' | 'coSent' | 'triplet' | 'distillation';

export type LossChoice = Views & {
  /** Default: distillation of a teacher's scores or vectors, CoSENT where pairs have scores, else InfoNCE. */
  readonly loss?: LossKind;
  /** Of InfoNCE (default 0.02), CoSENT and distilled scores (default 0.05). */
  readonly temperature?: number;
  /** Of a teacher's scores. Default: `temperature`. */
  readonly teacherTemperature?: number;
  /** Of the triplet loss. Default 0.2. */
  readonly margin?: number;
};

/** The loss that is chosen, else the one that the examples are made for (`LossChoice`). */
export function lossOf(examples: readonly Lesson[], { loss }: Pick<LossChoice, 'loss'>): LossKind {
  if (loss) return loss;
  if (examples.every((e) => 'scores' in e || 'vector' in e)) return 'distillation';
  return examples.every(({ score }) => typeof score === 'number') ? 'coSent' : 'infoNce';
}

/**
 * Examples → the sides and the loss of one batch.
 * @throws InputError for examples that do not fit the loss, or from which it cannot learn (one pair, equal scores)
 */
export function batchOf(examples: readonly Example[], choice: LossChoice = {}): TrainBatch {
  return choice.loss !== 'distillation' && arePairs(examples)
    ? pairBatch(examples, choice)
    : taughtBatch(examples, choice);
}

const arePairs = (examples: readonly Example[]): examples is readonly (Placed & PairExample)[] =>
  examples.every((e) => 'positive' in e);

function pairBatch(examples: readonly (Placed & PairExample)[], choice: LossChoice): TrainBatch {
  const scored = examples.filter((e) => e.score !== undefined).length;
  const kind = lossOf(examples, choice);
  const idle = nothingToLearn(examples, kind);
  if (idle !== null) throw new InputError(idle);
  const anchors = examples.map((e) => e.anchor);
  const positives = examples.map((e) => e.positive);
  if (kind === 'coSent') {
    if (scored < examples.length) {
      throw new InputError(
        `CoSENT needs a score a pair; ${examples.length - scored} of ${examples.length} have none`,
      );
    }
    return {
      sides: [anchors, positives],
      loss: coSent(
        examples.map((e) => e.score as number),
        choice,
      ),
    };
  }
  if (kind === 'triplet') {
    const negatives = examples.flatMap((e) => e.negatives?.[0] ?? []);
    if (negatives.length < examples.length) {
      throw new InputError(
        `the triplet loss needs a negative an example; ${examples.length - negatives.length} of ${examples.length} have none`,
      );
    }
    return { sides: [anchors, positives, negatives], loss: triplet(choice) };
  }
  const negatives = examples.flatMap((e) => e.negatives ?? []);
  const sides = negatives.length ? [anchors, positives, negatives] : [anchors, positives];
  return { sides, loss: infoNce(choice) };
}
