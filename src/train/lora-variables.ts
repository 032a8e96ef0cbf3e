import * as tf from '@tensorflow/tfjs-core';
import type { LoraTerm } from '../../kernels/index.ts';
import { residentLinears } from '../adapters/each-linear.ts';
import { columnLengths } from '../adapters/measure-dora.ts';
import { type Adapter, withAdapters } from '../adapters/with-adapters.ts';
import type { EmbeddingModel } from '../embedding-model.ts';
import { InputError } from '../errors.ts';
import type { Linear } from '../layers/linear.ts';
import type { LinearSpec } from '../layers/spec.ts';
import { leavesOf, loraTargets } from '../params.ts';
import { residentList } from './block-runner.ts';
import { Random } from './random.ts';
import { type Trainable, variableMatrix, variableOf } from './variables.ts';

export type LoraOptions = {
  readonly name?: string;
  /** Default 32, as the published adapters. */
  readonly rank?: number;
  /** The term is scaled by alpha / rank. Default: alpha = rank. */
  readonly alpha?: number;
  /** Rank-stabilised: scaled by alpha / √rank instead. (Kalajdzievski 2023) */
  readonly rslora?: boolean;
  /** The lengths of a map's columns are learned apart from their directions. (Liu et al. 2024) */
  readonly dora?: boolean;
  /** Which linear maps get a term. Default: the decoder's seven a layer and the projector, as published. */
  readonly targets?: (module: string) => boolean;
  readonly seed?: number;
};

/** A LoRA whose matrices are variables. The adapter belongs to the trainable; adding it to a model hands it over. */
export type LoraTrainable = Trainable & { readonly adapter: Adapter; readonly alpha: number };

/**
 * Fresh LoRA parameters on a frozen model: A uniform in ±1/√in (kaiming_uniform with a = √5), B zero, so that training
 * starts from the model as it is; a DoRA begins with the lengths that the maps have. The lengths that it divides by are
 * measured after every update and are constants of the gradient. (peft: tuners/lora/layer.py, reset_lora_parameters; dora.py)
 * @throws InputError for a DoRA on weights that are streamed from disk
 */
export function loraVariables(model: EmbeddingModel, options: LoraOptions = {}): LoraTrainable {
  const {
    name = 'trained',
    rank = 32,
    alpha = rank,
    rslora = false,
    dora = false,
    targets,
    seed = 0,
  } = options;
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
  const lengths = new Map<string, tf.Variable<tf.Rank.R1>>();
  const maps = dora ? mapsOf(model, chosen) : new Map<string, Linear>();
  for (const { name: module, inSize, outSize } of chosen) {
    const a = variableOf(
      tf.tensor2d(random.uniformValues(inSize * rank, 1 / Math.sqrt(inSize)), [inSize, rank]),
    );
    const b = variableOf(tf.zeros<tf.Rank.R2>([rank, outSize]));
    variables.set(`${module}.lora_A.weight`, a).set(`${module}.lora_B.weight`, b);
    const scale = alpha / (rslora ? Math.sqrt(rank) : rank);
    const term: LoraTerm = { a: variableMatrix(a), b: variableMatrix(b), scale, activation: 'none' };
    terms.set(module, term);
    const map = maps.get(module);
    if (!map) continue;
    const norm = tf.tidy(() => tf.variable(columnLengths(map, term), false));
    const magnitude = variableOf(tf.clone(norm));
    lengths.set(module, norm);
    variables.set(`${module}.lora_magnitude_vector`, magnitude);
    terms.set(module, { ...term, dora: { magnitude, norm, weight: 1 } });
  }
  const dispose = () => {
    for (const v of [...variables.values(), ...lengths.values()]) v.dispose();
  };
  const changed = () => {
    for (const [module, norm] of lengths)
      tf.tidy(() => norm.assign(columnLengths(maps.get(module) as Linear, terms.get(module) as LoraTerm)));
  };
  const parameters = [...variables.values()].reduce((sum, v) => sum + v.size, 0);
  const adapter: Adapter = { name, rank, terms, parameters, dispose };
  return {
    params: withAdapters(model.params, adapter),
    variables,
    tower: chosen.some((l) => l.name.startsWith('visual.')),
    table: false,
    changed,
    adapter,
    alpha,
    dispose,
  };
}

/** The frozen maps that a DoRA measures. */
function mapsOf({ params }: EmbeddingModel, chosen: readonly LinearSpec[]): ReadonlyMap<string, Linear> {
  residentList(params.model.layers); // throws for streamed ones
  const names = new Set(chosen.map((l) => l.name));
  return new Map(residentLinears(params).flatMap((l) => (names.has(l.name) ? [[l.name, l] as const] : [])));
}
