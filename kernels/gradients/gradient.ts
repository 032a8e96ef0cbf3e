import * as tf from '@tensorflow/tfjs-core';

/** What the tape needs to know of a stock kernel to go back through it: saved tensors, and dx from dy. */
export type Gradient = {
  readonly kernelName: string;
  readonly inputsToSave?: string[];
  readonly outputsToSave?: boolean[];
  readonly saveAllInputs?: boolean;
  readonly gradFunc: (
    dy: tf.Tensor,
    saved: tf.Tensor[],
    attrs: Readonly<Record<string, unknown>>,
  ) => Record<string, () => tf.Tensor>;
};

/** dy summed over the axes along which `x` was repeated.   → the shape of x */
export function unbroadcast(dy: tf.Tensor, x: tf.Tensor): tf.Tensor {
  if (tf.util.arraysEqual(dy.shape, x.shape)) return dy;
  const lead = dy.rank - x.rank;
  const repeated = dy.shape.flatMap((size, axis) =>
    axis < lead || (x.shape[axis - lead] === 1 && size > 1) ? [axis] : [],
  );
  return tf.reshape(tf.sum(dy, repeated), x.shape);
}

/** Axes of an attribute as positive numbers; `null` means all. */
export const axesOf = (axis: unknown, shape: number[]): number[] =>
  tf.util.parseAxisParam(axis as number | number[], shape);

/** Shape of a reduction with its reduced axes kept as 1: what broadcasts against the input again. */
export const keptShape = (shape: readonly number[], axes: readonly number[]): number[] =>
  shape.map((size, axis) => (axes.includes(axis) ? 1 : size));
