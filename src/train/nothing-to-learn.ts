import { InputError } from '../errors.ts';
import { type Placed, placesFirst } from '../evaluate/places.ts';
import type { LossKind } from './examples.ts';

// A batch of one class has a loss of 0 and no gradient: CoSENT without two different scores, InfoNCE with one pair and no
// negative. A run of such batches would end well and have learnt nothing.

/** What a loss needs to know of an example to tell whether it can learn from it. */
export type Lesson = Placed & {
  readonly score?: number | null;
  readonly negatives?: readonly unknown[];
};

/** Why a batch teaches nothing with this loss; `null` where it does. */
export function nothingToLearn(batch: readonly Lesson[], loss: LossKind): string | null {
  const told = (what: string) => `${placesFirst(batch)}${what}`;
  const score = batch[0]?.score; // of pairs without one batchOf tells
  if (loss === 'coSent' && typeof score === 'number' && batch.every((lesson) => lesson.score === score)) {
    return told(
      batch.length === 1
        ? 'CoSENT compares pairs and there is one; give a batch of two or more'
        : `all ${batch.length} pairs have the score ${score}, and CoSENT learns from different ones; ` +
            'give pairs that are less and more alike, or larger batches',
    );
  }
  if (loss === 'infoNce' && batch.length === 1 && !batch[0].negatives?.length)
    return told('InfoNCE tells a pair from others, and there is one without negatives; give larger batches');
  return null;
}

/** @throws InputError where no batch of these examples, or not every one of a single example, can teach anything */
export function checkLessons(lessons: readonly Lesson[], loss: LossKind, batchSize: number): void {
  const all = nothingToLearn(lessons, loss);
  if (all !== null) throw new InputError(all);
  if (batchSize > 1) return;
  const useless = lessons.filter((lesson) => nothingToLearn([lesson], loss) !== null);
  if (useless.length === 0) return;
  const need = loss === 'coSent' ? 'CoSENT compares pairs' : 'InfoNCE tells a pair from others';
  throw new InputError(
    `${placesFirst(useless)}${need}, and alone in a batch of 1 these ${useless.length} examples teach nothing; ` +
      `choose a larger batch size${loss === 'coSent' ? '' : ', or give them negatives'}`,
  );
}
