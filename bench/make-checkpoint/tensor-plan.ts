import type { LeafSpec, LinearSpec } from '../../src/layers/spec.ts';
import type { ModelConfig } from '../../src/model-config.ts';
import { leavesOf, loraTargets, type ModelSpec, tensorsOf } from '../../src/params.ts';
import { byteLengthOf } from '../../weights/dtypes.ts';
import { intoShards } from '../../weights/into-shards.ts';
import type { Distribution, WeightDtype } from './random-values.ts';

/** A tensor that will be written: its name in the file, and what its values are like. */
export type PlannedTensor = {
  readonly name: string;
  readonly dtype: WeightDtype;
  readonly shape: readonly number[];
  readonly distribution: Distribution;
};

export type PlannedFile = { readonly path: string; readonly tensors: readonly PlannedTensor[] };

/** A LoRA changes the output of a map by about this part of it. */
const LORA_PART = 0.2;

/**
 * All tensors of the model, with values under which activations stay near 1 through any depth: linear maps keep the variance
 * of a normalised input, those that write into the residual stream are damped by √(2 · blocks) (Radford et al. 2019), so that
 * every block counts and a token's own embedding is not drowned.
 */
export function modelTensors(
  spec: ModelSpec,
  config: ModelConfig,
  dtype: WeightDtype,
): readonly PlannedTensor[] {
  return leavesOf(spec).flatMap((leaf) =>
    tensorsOf(leaf).map(({ name, shape }) => ({
      name,
      dtype,
      shape,
      distribution: distributionOf(leaf, name, config),
    })),
  );
}

function distributionOf(leaf: LeafSpec, name: string, config: ModelConfig): Distribution {
  if (leaf.leaf === 'table') return { mean: 0, std: 1 };
  if (leaf.leaf === 'tensor') return { mean: 1, std: 0.05 }; // norms
  if (name.endsWith('.bias')) return { mean: 0, std: 0.02 };
  return { mean: 0, std: damping(leaf, config) / Math.sqrt(leaf.inSize) };
}

function damping({ name }: LinearSpec, { decoder, vision }: ModelConfig): number {
  if (/\.layers\..*\.(?:o_proj|down_proj)$/.test(name)) return 1 / Math.sqrt(2 * decoder.numHiddenLayers);
  if (/\.blocks\..*\.(?:proj|down_proj)$/.test(name)) return 1 / Math.sqrt(2 * vision.depth);
  return 1;
}

/** The adapter file: A and B of every task on every map that a published LoRA sits on. */
export function adapterTensors(
  spec: ModelSpec,
  config: ModelConfig,
  { rank, tasks, dtype }: { rank: number; tasks: readonly string[]; dtype: WeightDtype },
): readonly PlannedTensor[] {
  return loraTargets(spec).flatMap((map) => {
    // Adapter names have a segment that the published base names lack.
    const path = `base_model.model.${map.name.replace(/^model\./, 'model.language_model.')}`;
    // B is not zero, as it would be before training: an adapter that is not applied must show.
    const b = (LORA_PART * damping(map, config)) / Math.sqrt(rank);
    return tasks.flatMap((task) => [
      tensor(`${path}.lora_A.${task}.weight`, [rank, map.inSize], 1 / Math.sqrt(map.inSize)),
      tensor(`${path}.lora_B.${task}.weight`, [map.outSize, rank], b),
    ]);
  });

  function tensor(name: string, shape: readonly number[], std: number): PlannedTensor {
    return { name, dtype, shape, distribution: { mean: 0, std } };
  }
}

/** Tensors into files of at most `shardSize` bytes of data (a larger tensor has a file of its own), named as the hub names them. */
export function shardFiles(tensors: readonly PlannedTensor[], shardSize: number): readonly PlannedFile[] {
  const shards = intoShards(tensors, ({ dtype, shape }) => byteLengthOf(dtype, shape), shardSize);
  return shards.map(({ path, tensors }) => ({ path, tensors: byName(tensors) }));
}

/** By name, as safetensors' own writer orders tensors of one dtype. */
export const byName = (tensors: readonly PlannedTensor[]): readonly PlannedTensor[] =>
  [...tensors].sort((x, y) => (x.name < y.name ? -1 : 1));

/** `model.safetensors.index.json` of these files. */
export const shardIndex = (files: readonly PlannedFile[]): Record<string, unknown> => ({
  metadata: { total_size: totalBytes(files) },
  weight_map: Object.fromEntries(
    files
      .flatMap(({ path, tensors }) => tensors.map(({ name }) => [name, path] as const))
      .sort(([x], [y]) => (x < y ? -1 : 1)),
  ),
});

export const totalBytes = (files: readonly PlannedFile[]): number =>
  files
    .flatMap((file) => file.tensors)
    .reduce((sum, { dtype, shape }) => sum + byteLengthOf(dtype, shape), 0);
