import * as tf from '@tensorflow/tfjs-core';
import { type EmbeddingTable, tensorTable } from '../../kernels/index.ts';
import { EmbeddingModel } from '../embedding-model.ts';
import { InputError } from '../errors.ts';
import { residentBlocks } from '../layers/blocks.ts';
import type { Linear } from '../layers/linear.ts';
import type { LeafSpec } from '../layers/spec.ts';
import type { ModelConfig } from '../model-config.ts';
import { elements, isLeafSpec, type ModelParams, modelSpec } from '../params.ts';
import { residentList } from './block-runner.ts';
import { Random } from './random.ts';
import { type Trainable, variableMatrix, variableOf } from './variables.ts';

/** All weights of a model as variables, and a model that computes with them as they are at each moment. */
export type WeightsTrainable = Trainable & { readonly model: EmbeddingModel };

/** Values of one checkpoint tensor at the start; matrices as [in, out]. */
type Start = (name: string, shape: readonly number[]) => tf.Tensor | Promise<tf.Tensor>;

/**
 * A copy of a model's weights to train, float32. For small models: AdamW keeps two more numbers a weight. A table of its
 * own dtype in memory is widened. @throws InputError where blocks or table are streamed from disk
 */
export async function weightVariables(model: EmbeddingModel): Promise<WeightsTrainable> {
  const starts = new Map<string, () => tf.Tensor | Promise<tf.Tensor>>();
  const visit = (spec: unknown, node: unknown): void => {
    if (isLeafSpec(spec)) {
      if (spec.leaf === 'tensor') starts.set(spec.name, () => tf.clone(node as tf.Tensor));
      if (spec.leaf === 'table') starts.set(spec.name, () => wholeTable(node as EmbeddingTable));
      if (spec.leaf === 'linear') {
        const { weight, bias } = node as Linear;
        starts.set(`${spec.name}.weight`, () => tf.tidy(() => tf.clone(weight.dense())));
        starts.set(`${spec.name}.bias`, () => tf.clone(bias as tf.Tensor1D));
      }
    } else if (Array.isArray(spec)) {
      const blocks = residentList(node as ModelParams['model']['layers']);
      spec.forEach((s, i) => {
        visit(s, blocks[i]);
      });
    } else {
      for (const [key, s] of Object.entries(spec as object)) visit(s, (node as Record<string, unknown>)[key]);
    }
  };
  visit(model.spec, model.params);
  return trainableFrom(model.config, (name) => (starts.get(name) as () => tf.Tensor)());
}

function wholeTable(table: EmbeddingTable): tf.Tensor | Promise<tf.Tensor> {
  if (table.storage === 'file')
    throw new InputError('an embedding table on disk cannot be trained; load with residence "float32"');
  return table.gather(Int32Array.from({ length: table.rows }, (_, i) => i));
}

/**
 * A model that was never trained: normal weights of deviation 0.02, zero biases, norms at 1
 * (transformers: Qwen2PreTrainedModel._init_weights). The same for the same seed.
 */
export function freshVariables(
  config: ModelConfig,
  { seed = 0, deviation = 0.02 } = {},
): Promise<WeightsTrainable> {
  const random = new Random(seed);
  return trainableFrom(config, (name, shape) => {
    if (name.endsWith('.bias')) return tf.zeros([...shape]);
    if (shape.length === 1) return tf.ones([...shape]);
    return tf.tensor(random.normalValues(elements(shape), deviation), [...shape]);
  });
}

async function trainableFrom(config: ModelConfig, start: Start): Promise<WeightsTrainable> {
  const variables = new Map<string, tf.Variable>();
  const dispose = () => {
    for (const v of variables.values()) v.dispose();
  };
  const variable = async (name: string, shape: readonly number[]): Promise<tf.Variable> => {
    const made = variableOf(await start(name, shape));
    variables.set(name, made);
    return made;
  };
  const leaf = async (s: LeafSpec): Promise<unknown> => {
    if (s.leaf === 'tensor') return variable(s.name, s.shape);
    if (s.leaf === 'table') return tensorTable((await variable(s.name, s.shape)) as tf.Variable<tf.Rank.R2>);
    const weight = (await variable(`${s.name}.weight`, [s.inSize, s.outSize])) as tf.Variable<tf.Rank.R2>;
    const bias = s.bias ? await variable(`${s.name}.bias`, [s.outSize]) : null;
    return { name: s.name, weight: variableMatrix(weight), bias, lora: [] };
  };
  const fill = async (spec: unknown): Promise<unknown> => {
    if (isLeafSpec(spec)) return leaf(spec);
    if (Array.isArray(spec)) {
      const blocks: unknown[] = [];
      for (const s of spec) blocks.push(await fill(s));
      return residentBlocks(blocks);
    }
    const filled: Record<string, unknown> = {};
    for (const [key, s] of Object.entries(spec as object)) filled[key] = await fill(s);
    return filled;
  };
  try {
    const params = (await fill(modelSpec(config))) as ModelParams;
    const model = new EmbeddingModel(config, params, dispose);
    return { params, variables, tower: true, table: true, model, dispose: () => model.dispose() };
  } catch (error) {
    dispose();
    throw error;
  }
}
