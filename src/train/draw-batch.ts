import { InputError } from '../errors.ts';
import type { EpochSampler } from './epoch-sampler.ts';
import { type Example, type ExampleSource, type LossChoice, lossOf } from './examples.ts';
import { nothingToLearn } from './nothing-to-learn.ts';

export type DrawnBatch = {
  readonly examples: readonly Example[];
  /** Batches before it that taught nothing. */
  readonly dropped: number;
};

const MOST_DROPPED = 100;

/**
 * The next batch that teaches something. Scores of a few kinds can be equal throughout a small batch by chance; it would
 * change nothing, and the next one is taken.
 * @throws InputError where a hundred in a row teach nothing
 */
export async function drawBatch(
  sampler: EpochSampler,
  data: ExampleSource,
  options: Pick<LossChoice, 'loss'> & { readonly signal?: AbortSignal },
): Promise<DrawnBatch> {
  for (let dropped = 0; ; dropped++) {
    options.signal?.throwIfAborted();
    const examples = await Promise.all(sampler.next().map((index) => exampleAt(data, index)));
    const idle = nothingToLearn(examples, lossOf(examples, options));
    if (idle === null) return { examples, dropped };
    if (dropped === MOST_DROPPED)
      throw new InputError(
        `more than ${MOST_DROPPED} batches in a row taught nothing, the last being ${idle}`,
      );
  }
}

async function exampleAt(data: ExampleSource, index: number): Promise<Example> {
  const example = await data.at(index);
  if (!example)
    throw new InputError(`there is no example ${index}, though the data says it has ${data.length}`);
  return example;
}
