import { InputError } from '../errors.ts';
import type { Placed } from '../evaluate/places.ts';
import type { TrainBatch } from './gradients.ts';
import { coSent } from './losses/co-sent.ts';
import { infoNce } from './losses/info-nce.ts';
import type { Views } from './losses/side.ts';
import { triplet } from './losses/triplet.ts';
import { type Lesson, nothingToLearn } from './nothing-to-learn.ts';
import type { TrainInput } from './train-input.ts';

/** A pair that belongs together, perhaps with documents that do not, or with a score of how much it does. */
export type Example = Placed & {
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

export type LossKind = 'infoNce' | 'coSent' | 'triplet';

export type LossChoice = Views & {
  /** Default: CoSENT where the examples have scores, else InfoNCE. */
  readonly loss?: LossKind;
  /** Of InfoNCE (default 0.02) and CoSENT (default 0.05). */
  readonly temperature?: number;
  /** Of the triplet loss. Default 0.2. */
  readonly margin?: number;
};

/** The loss of examples where none is chosen: CoSENT where all have scores, else InfoNCE. */
export const lossOf = (examples: readonly Lesson[], { loss }: Pick<LossChoice, 'loss'>): LossKind =>
  loss ?? (examples.every(({ score }) => typeof score === 'number') ? 'coSent' : 'infoNce');

/**
 * Examples → the sides and the loss of one batch.
 * @throws InputError for examples that do not fit the loss, or from which it cannot learn (one pair, equal scores)
 */
export function batchOf(examples: readonly Example[], choice: LossChoice = {}): TrainBatch {
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
