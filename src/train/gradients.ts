import * as tf from '@tensorflow/tfjs-core';
import { embed } from '../../kernels/index.ts';
import type { Placed } from '../evaluate/places.ts';
import { see } from '../model.ts';
import type { ModelConfig } from '../model-config.ts';
import type { RunBlock } from './block-runner.ts';
import { type Encoded, encode, type Frozen } from './forward.ts';
import type { Loss } from './losses/loss.ts';
import type { Side } from './losses/side.ts';
import { imagesOf, type Stream, streamOf, type TrainInput } from './train-input.ts';
import type { Trainable } from './variables.ts';

/** Inputs of a batch by side (queries, documents, hard negatives …) and the loss over them. */
export type TrainBatch = {
  readonly sides: readonly (readonly TrainInput[])[];
  readonly loss: Loss;
  /** Of this batch in a step of several. Default 1. */
  readonly weight?: number;
  /** Where its examples stand, for errors. */
  readonly from?: readonly Placed[];
};

/** A loss, and its gradients by variable name. A variable that the loss does not reach has none. Owned by the caller. */
export type LossAndGradients = { readonly loss: tf.Scalar; readonly gradients: Map<string, tf.Tensor> };

export type GradientOptions = {
  readonly config: ModelConfig;
  readonly trainable: Trainable;
  readonly runBlock: RunBlock;
};

/** Loss and gradients of one batch: all its texts and images run as one packed stream. */
export async function batchGradients(batch: TrainBatch, options: GradientOptions): Promise<LossAndGradients> {
  const { config, trainable, runBlock } = options;
  const stream = streamOf(batch.sides.flat());
  const frozen = await frozenOf(stream, options);
  try {
    return gradientsOf(trainable, () => {
      const encoded = encode(trainable.params, config, stream, frozen, { multi: batch.loss.multi, runBlock });
      return batch.loss.compute(sidesOf(batch.sides, stream, encoded));
    });
  } finally {
    frozen.text?.dispose();
    frozen.seen?.dispose();
  }
}

/** What no variable touches is computed before the tape starts. Owned by the caller. */
export async function frozenOf(
  stream: Stream,
  { config, trainable }: Pick<GradientOptions, 'config' | 'trainable'>,
): Promise<{ -readonly [K in keyof Frozen]: Frozen[K] }> {
  const ids = Int32Array.from(stream.order.flatMap((i) => [...stream.inputs[i].ids]));
  const images = trainable.tower ? null : imagesOf(stream);
  const seen = images ? await see(trainable.params, config, images) : null;
  const text = trainable.table ? null : await embed(trainable.params.model.embedTokens, ids);
  return { text, seen };
}

/** The rows of each side, in the order in which the sides were given. Call on the tape. */
export function sidesOf(
  sides: readonly (readonly TrainInput[])[],
  { begins, inputs }: Pick<Stream, 'begins' | 'inputs'>,
  { pooled, tokens }: Encoded,
): readonly Side[] {
  const parts = tf.split(
    pooled,
    sides.map((s) => s.length),
    0,
  ) as tf.Tensor2D[];
  let first = 0;
  return sides.map((side, k) => {
    const spans = side.map((_, j) => {
      const begin = begins[first + j];
      return { begin, end: begin + inputs[first + j].ids.length };
    });
    first += side.length;
    return { pooled: parts[k], tokens: tokens && { vectors: tokens, spans } };
  });
}

/** The scalar `f` and its gradient with respect to every variable. */
export function gradientsOf(trainable: Trainable, f: () => tf.Scalar): LossAndGradients {
  const names = [...trainable.variables.keys()];
  const variables = [...trainable.variables.values()];
  const { value, grads } = tf.variableGrads(f, variables);
  const gradients = new Map<string, tf.Tensor>();
  variables.forEach((v, i) => {
    const gradient = grads[v.name];
    if (gradient) gradients.set(names[i], gradient);
  });
  return { loss: value, gradients };
}
