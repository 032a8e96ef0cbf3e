import * as tf from '@tensorflow/tfjs-core';
import type { Matrix } from '../../kernels/index.ts';
import type { ModelParams } from '../params.ts';

/** What is trained: the parameters as the forward pass sees them, and the variables in them by checkpoint name. */
export type Trainable = {
  readonly params: ModelParams;
  readonly variables: ReadonlyMap<string, tf.Variable>;
  /** Whether a variable lies in the vision tower; if not, images are seen once, outside the tape. */
  readonly tower: boolean;
  /** Whether the embedding table is a variable. */
  readonly table: boolean;
  /** The variables have other values: what is computed from them is computed again. Whoever assigns to one calls it. */
  readonly changed?: () => void;
  dispose(): void;
};

/** A matrix [in, out] whose tensor is a variable: assigning to it trains the model in place. Takes ownership. */
export const variableMatrix = (variable: tf.Variable<tf.Rank.R2>): Matrix => ({
  inSize: variable.shape[0],
  outSize: variable.shape[1],
  storage: 'float32',
  bytes: variable.size * 4,
  dense: () => variable,
  dispose: () => variable.dispose(),
});

/** A variable with these values. Takes the tensor over. */
export function variableOf<R extends tf.Rank>(values: tf.Tensor<R>): tf.Variable<R> {
  const variable = tf.variable(values);
  values.dispose();
  return variable;
}
