import type * as tf from '@tensorflow/tfjs-core';
import type { EmbeddingTable } from '../kernels/index.ts';
import { type Decoder, decoderSpec } from './decoder/decoder.ts';
import { type Blocks, mapBlocks } from './layers/blocks.ts';
import { type Linear, linearSpec } from './layers/linear.ts';
import type { LeafSpec, SpecOf, TensorSpec } from './layers/spec.ts';
import type { ModelConfig } from './model-config.ts';
import { type VisionTower, visionTowerSpec } from './vision/tower.ts';

/** All parameters of the model, as the forward pass sees them. */
export type ModelParams = {
  readonly visual: VisionTower;
  readonly model: Decoder;
  readonly multiVectorProjector: Linear;
};

export type ModelSpec = SpecOf<ModelParams>;

/** The spec of the whole model, from its config alone: nothing is allocated. */
export const modelSpec = (c: ModelConfig): ModelSpec => ({
  visual: visionTowerSpec('visual', c.vision),
  model: decoderSpec('model', c.decoder),
  multiVectorProjector: linearSpec(
    'multi_vector_projector',
    c.decoder.hiddenSize,
    c.multiVectorProjectorDim,
    {
      bias: true,
    },
  ),
});

/** The leaves of a spec tree, in checkpoint order. */
export function leavesOf(spec: unknown): readonly LeafSpec[] {
  if (isLeafSpec(spec)) return [spec];
  return Object.values(spec as object).flatMap(leavesOf);
}

export const isLeafSpec = (node: unknown): node is LeafSpec =>
  typeof node === 'object' && node !== null && 'leaf' in node;

/** How the nodes of a spec tree are filled. `blocks` gets the specs of a tower's blocks and a way to fill one. */
export type Filling = {
  readonly leaf: (leaf: LeafSpec) => unknown;
  readonly blocks: (specs: readonly unknown[], fill: (spec: unknown) => unknown) => Blocks<unknown>;
};

/** The tree of parameters for a tree of specs. */
export function fillTree(spec: unknown, filling: Filling): unknown {
  if (isLeafSpec(spec)) return filling.leaf(spec);
  if (Array.isArray(spec)) return filling.blocks(spec, (block) => fillTree(block, filling));
  return Object.fromEntries(Object.entries(spec as object).map(([k, v]) => [k, fillTree(v, filling)]));
}

/** The checkpoint tensors of a leaf: one, or a linear map's weight and bias. */
export function tensorsOf(leaf: LeafSpec): readonly TensorSpec[] {
  if (leaf.leaf !== 'linear') return [{ ...leaf, leaf: 'tensor' }];
  const weight: TensorSpec = {
    leaf: 'tensor',
    name: `${leaf.name}.weight`,
    shape: leaf.shape,
    matrix: true,
  };
  return leaf.bias
    ? [weight, { leaf: 'tensor', name: `${leaf.name}.bias`, shape: [leaf.outSize] }]
    : [weight];
}

export const checkpointTensors = (spec: unknown): readonly TensorSpec[] => leavesOf(spec).flatMap(tensorsOf);

export const elements = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

export const parameterCount = (spec: unknown): number =>
  checkpointTensors(spec).reduce((sum, t) => sum + elements(t.shape), 0);

/** The linear maps that a LoRA of the published kind sits on: seven a decoder layer, and the projector. None in the tower. */
export const loraTargets = (spec: ModelSpec): readonly Extract<LeafSpec, { leaf: 'linear' }>[] =>
  leavesOf({ layers: spec.model.layers, projector: spec.multiVectorProjector }).filter(
    (l) => l.leaf === 'linear',
  );

/** Parameters of one adapter of rank `r` on those maps: A [r, in] and B [out, r] each. */
export const loraParameterCount = (spec: ModelSpec, r: number): number =>
  loraTargets(spec).reduce((sum, l) => sum + r * (l.inSize + l.outSize), 0);

/** What becomes of the leaves of a tree of parameters. A place is the path in the tree: `model.layers.3.inputLayernorm`. */
export type LeafMap = {
  readonly linear: (linear: Linear) => Linear;
  readonly tensor?: (tensor: tf.Tensor, place: string) => tf.Tensor;
  readonly table?: (table: EmbeddingTable) => EmbeddingTable;
};

/** The same tree with other leaves. Shares all tensors that are left. */
export function mapLeaves<T>(tree: T, to: LeafMap, place = ''): T {
  const at = (key: string | number) => (place === '' ? `${key}` : `${place}.${key}`);
  if (isLinear(tree)) return to.linear(tree) as T;
  if (isBlocks(tree)) return mapBlocks(tree, (block, i) => mapLeaves(block, to, at(i))) as T;
  if (isTensor(tree)) return (to.tensor?.(tree, place) ?? tree) as T;
  if (isTable(tree)) return (to.table?.(tree) ?? tree) as T;
  return Object.fromEntries(
    Object.entries(tree as object).map(([k, v]) => [k, mapLeaves(v, to, at(k))]),
  ) as T;
}

/** The leaves of a spec tree by their place in the tree of parameters. */
export function placesOf(spec: unknown, place = ''): ReadonlyMap<LeafSpec, string> {
  if (isLeafSpec(spec)) return new Map([[spec, place]]);
  const at = (key: string) => (place === '' ? key : `${place}.${key}`);
  return new Map(Object.entries(spec as object).flatMap(([k, v]) => [...placesOf(v, at(k))]));
}

/** The same tree with every linear map replaced by `f` of it. Shares all tensors. */
export const mapLinears = <T>(tree: T, f: (linear: Linear) => Linear): T => mapLeaves(tree, { linear: f });

/** The token table of a tree; null where there is none. */
export function tokenTable(tree: unknown): EmbeddingTable | null {
  if (isTable(tree)) return tree;
  if (isLinear(tree) || isBlocks(tree) || isTensor(tree)) return null;
  return Object.values(tree as object).reduce<EmbeddingTable | null>((t, v) => t ?? tokenTable(v), null);
}

export const isLinear = (node: unknown): node is Linear =>
  typeof node === 'object' && node !== null && 'weight' in node && 'lora' in node;

export const isBlocks = (node: unknown): node is Blocks<unknown> =>
  typeof node === 'object' && node !== null && 'take' in node && 'release' in node;

export const isTable = (node: unknown): node is EmbeddingTable =>
  typeof node === 'object' && node !== null && 'gather' in node && !isTensor(node); // tensors may have a method of this name

export const isTensor = (node: unknown): node is tf.Tensor =>
  typeof node === 'object' && node !== null && 'dataId' in node;
