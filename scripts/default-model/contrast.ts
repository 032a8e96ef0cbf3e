import * as tf from '@tensorflow/tfjs-core';
import { imageIds } from '../../src/text/prompts.ts';
import type { TextTokenizer } from '../../src/text/tokenizer.ts';
import type { TrainBatch } from '../../src/train/gradients.ts';
import { infoNce } from '../../src/train/losses/info-nce.ts';
import type { TrainInput } from '../../src/train/train-input.ts';
import { MATRYOSHKA } from './geometry.ts';
import { prototypeLoss } from './prototypes.ts';
import type { Batch } from './sampler.ts';

/**
 * What all weights learn from: a text and a picture of each emoji find its prototype among all, and each other in the batch, at every
 * Matryoshka size, which have these weights.
 */
export function lesson(
  batch: Batch,
  tokenizer: TextTokenizer,
  vectors: tf.Variable<tf.Rank.R2>,
  temperature: number,
  weights?: readonly number[],
): TrainBatch {
  const { first, twins, emoji } = batch;
  const sought = prototypeLoss(vectors, { own: emoji, also: [first.also, twins] }, temperature, weights);
  const met = infoNce({ temperature, sizes: MATRYOSHKA, weights, answers: first.names });
  const [texts, , pictures] = sidesOf(batch, tokenizer);
  return {
    sides: [texts, pictures],
    loss: {
      name: 'prototypes and contrast',
      multi: false,
      compute: (sides) => tf.add(sought.compute(sides), met.compute(sides)),
    },
  };
}

/** First texts, second texts, pictures. */
export function sidesOf(batch: Batch, tokenizer: TextTokenizer): TrainBatch['sides'] {
  const text = (ids: Int32Array): TrainInput => ({ ids });
  return [batch.first.ids.map(text), batch.second.ids.map(text), pictures(batch, tokenizer)];
}

/**
 * The decoder is causal and a picture's vector is the mean over its own tokens, so what follows them in the prompt cannot
 * change it and is left out.
 */
function pictures({ pixelValues, grid, emoji }: Batch, tokenizer: TextTokenizer): readonly TrainInput[] {
  const tokens = (grid[1] * grid[2]) / 4;
  const whole = imageIds(tokenizer, tokens);
  const begin = whole.indexOf(tokenizer.specialId('<|vision_start|>'));
  const span = { begin, end: begin + tokens + 2 };
  const size = pixelValues.length / emoji.length;
  return Array.from(emoji, (_, i) => ({
    ids: whole.slice(0, span.end),
    span,
    image: { pixelValues: pixelValues.subarray(i * size, (i + 1) * size), grid },
  }));
}
