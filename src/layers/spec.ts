import type * as tf from '@tensorflow/tfjs-core';
import type { EmbeddingTable } from '../../kernels/index.ts';
import type { Blocks } from './blocks.ts';
import type { Linear } from './linear.ts';

// One tree, three fillings: specs (name and shape, from the config alone), parameters (loaded), and parameters with
// adapters on. A tensor's checkpoint key and shape are written once, in its spec; loading, checking, random test models
// and size estimates all walk that spec.

export type TensorSpec = {
  readonly leaf: 'tensor';
  readonly name: string;
  readonly shape: readonly number[];
  /** The weight of a linear map: may be quantised in a checkpoint. */
  readonly matrix?: boolean;
};

export type TableSpec = {
  readonly leaf: 'table';
  readonly name: string;
  readonly shape: readonly [number, number];
};

export type LinearSpec = {
  readonly leaf: 'linear';
  /** Module path in the checkpoint: adapters are matched by it, the tensors are `<name>.weight` and `<name>.bias`. */
  readonly name: string;
  readonly inSize: number;
  readonly outSize: number;
  readonly bias: boolean;
  /** Shape of the weight in the file: [out, in], or a convolution whose kernel is its stride. */
  readonly shape: readonly number[];
};

export type LeafSpec = TensorSpec | TableSpec | LinearSpec;

/** The spec of a tree of parameters: the same tree with specs for leaves. */
export type SpecOf<P> = P extends Linear
  ? LinearSpec
  : P extends EmbeddingTable
    ? TableSpec
    : P extends tf.Tensor
      ? TensorSpec
      : P extends Blocks<infer B>
        ? readonly SpecOf<B>[]
        : { readonly [K in keyof P]: SpecOf<P[K]> };

export const tensorSpec = (name: string, ...shape: number[]): TensorSpec => ({ leaf: 'tensor', name, shape });

export const tableSpec = (name: string, rows: number, width: number): TableSpec => ({
  leaf: 'table',
  name,
  shape: [rows, width],
});
