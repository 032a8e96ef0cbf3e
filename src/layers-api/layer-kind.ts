import type * as tf from '@tensorflow/tfjs-core';
import { InputError } from '../errors.ts';
import type { SpecOf } from '../layers/spec.ts';

/** A shape as tfjs-layers writes it: null where only a batch will tell. */
export type Shape = readonly (number | null)[];

/** Where a layer runs: `batch` sequences of `rows` rows each lie one after the other. */
export type Packed = { readonly batch: number; readonly rows: number };

/**
 * A layer of the model in the form that the stock world needs: options that are plain data, a spec, a function on packed rows.
 * `O` is saved with a model as JSON; its words must be camelCase or lower case, because tfjs-layers rewrites others.
 */
export type LayerKind<O, P> = {
  /** `rows`: every row by itself, [..., in]. `sequences`: rows see each other, [batch, T, in]. `ids`: whole numbers, [...]. */
  readonly input: 'rows' | 'sequences' | 'ids';
  /** Width of an input row; null where any will do. */
  readonly width: (options: O) => number | null;
  /** What it holds. Leaf names do not matter here: weights are called by their place in the tree. */
  readonly spec: (options: O, width: number) => SpecOf<P>;
  /** x: [batch · rows, in] (ids: [batch · rows, 1]) → rows of the output */
  readonly call: (params: P, x: tf.Tensor2D, options: O, packed: Packed) => tf.Tensor2D;
  readonly outputShape: (input: Shape, options: O) => Shape;
};

/** A layer kind whose options and parameters nobody outside needs to know. */
export type AnyLayerKind = LayerKind<unknown, unknown>;

const kinds = new Map<string, AnyLayerKind>();

/** Makes a layer of your own usable as a `ModelLayer`; its name must be registered before a saved model is loaded. */
export function registerLayerKind<O, P>(name: string, kind: LayerKind<O, P>): void {
  if (!/^[a-z][a-zA-Z]*$/.test(name))
    throw new InputError(`a layer kind needs a camelCase name of letters, got "${name}"`);
  kinds.set(name, kind as unknown as AnyLayerKind);
}

/** @throws InputError naming those that there are */
export function layerKind(name: string): AnyLayerKind {
  const kind = kinds.get(name);
  if (kind) return kind;
  throw new InputError(
    `unknown layer kind "${name}"; there are ${[...kinds.keys()].join(', ')} (registerLayerKind adds others)`,
  );
}

/** The input's shape with another last axis. */
export const withLast = (shape: Shape, last: number): Shape => [...shape.slice(0, -1), last];
