import * as tf from '@tensorflow/tfjs-core';
import type { LoraTerm } from '../../kernels/index.ts';
import { type Adapter, withAdapters } from '../adapters/with-adapters.ts';
import type { EmbeddingModel } from '../embedding-model.ts';
import { InputError } from '../errors.ts';
import type { LinearSpec } from '../layers/spec.ts';
import { leavesOf, loraTargets } from '../params.ts';
import { Random } from './random.ts';
import { type Trainable, variableMatrix, variableOf } from './variables.ts';

export type LoraOptions = {
  readonly name?: string;
  /** Default 32, as the published adapters. */
  readonly rank?: number;
  /** The term is scaled by alpha / rank. Default: alpha = rank. */
  readonly alpha?: number;
  /** Which linear maps get a term. Default: the decoder's seven a layer and the projector, as published. */
  readonly targets?: (module: string) => boolean;
  readonly seed?: number;
};

/** A LoRA whose matrices are variables. The adapter belongs to the trainable; adding it to a model hands it over. */
export type LoraTrainable = Trainable & { readonly adapter: Adapter; readonly alpha: number };

/**
 * Fresh LoRA parameters on a frozen model: A uniform in ±1/√in (kaiming_uniform with a = √5), B zero, so that training
 * starts from the model as it is. (peft: tuners/lora/layer.py, reset_lora_parameters)
 */
export function loraVariables(
  model: EmbeddingModel,
  { name = 'trained', rank = 32, alpha = rank, targets, seed = 0 }: LoraOptions = {},
): LoraTrainable {
  if (!Number.isInteger(rank) || rank < 1)
    throw new InputError(`a LoRA's rank is a whole number from 1, got ${rank}`);
  const linears = leavesOf(model.spec).filter((l): l is LinearSpec => l.leaf === 'linear');
  const chosen = targets ? linears.filter((l) => targets(l.name)) : loraTargets(model.spec);
  if (chosen.length === 0) {
    throw new InputError(
      `no linear map was chosen for the adapter; the model has ${linears.map((l) => l.name).join(', ')}`,
    );
  }
  const random = new Random(seed);
  const variables = new Map<string, tf.Variable>();
  const terms = new Map<string, LoraTerm>();
  for (const { name: module, inSize, outSize } of chosen) {
    const a = variableOf(
      tf.tensor2d(random.uniformValues(inSize * rank, 1 / Math.sqrt(inSize)), [inSize, rank]),
    );
    const b = variableOf(tf.zeros<tf.Rank.R2>([rank, outSize]));
    variables.set(`${module}.lora_A.weight`, a).set(`${module}.lora_B.weight`, b);
    terms.set(module, {
      a: variableMatrix(a),
      b: variableMatrix(b),
      scale: alpha / rank,
      activation: 'none',
    });
  }
  const dispose = () => {
    for (const v of variables.values()) v.dispose();
  };
  const parameters = [...variables.values()].reduce((sum, v) => sum + v.size, 0);
  const adapter: Adapter = { name, rank, terms, parameters, dispose };
  return {
    params: withAdapters(model.params, adapter),
    variables,
    tower: chosen.some((l) => l.name.startsWith('visual.')),
    table: false,
    adapter,
    alpha,
    dispose,
  };
}
