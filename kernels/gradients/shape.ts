import * as tf from '@tensorflow/tfjs-core';
import { axesOf, type Gradient, keptShape } from './gradient.ts';

// Values that move without changing, and values that are summed.

const ofShape = (
  kernelName: string,
  dx: (dy: tf.Tensor, x: tf.Tensor, attrs: Readonly<Record<string, unknown>>) => tf.Tensor,
): Gradient => ({
  kernelName,
  inputsToSave: ['x'],
  gradFunc: (dy, [x], attrs) => ({ x: () => dx(dy, x, attrs) }),
});

const spread = (dy: tf.Tensor, x: tf.Tensor, axes: number[]): tf.Tensor =>
  tf.broadcastTo(tf.reshape(dy, keptShape(x.shape, axes)), x.shape);

/** Rows of dy added up at the places they were read from.   dy: [T, …], x: [V, …] → [V, …] */
function scatterRows(dy: tf.Tensor, x: tf.Tensor, indices: tf.Tensor): tf.Tensor {
  const rows = indices.size;
  const width = x.size / x.shape[0];
  const flat = tf.scatterND(tf.cast(tf.reshape(indices, [rows, 1]), 'int32'), tf.reshape(dy, [rows, width]), [
    x.shape[0],
    width,
  ]);
  return tf.reshape(flat, x.shape);
}

export const shapeGradients: readonly Gradient[] = [
  ofShape(tf.Reshape, (dy, x) => tf.reshape(dy, x.shape)),
  ofShape(tf.ExpandDims, (dy, x) => tf.reshape(dy, x.shape)),
  ofShape(tf.Sum, (dy, x, { axis }) => spread(dy, x, axesOf(axis, x.shape))),
  ofShape(tf.Mean, (dy, x, { axis }) => {
    const axes = axesOf(axis, x.shape);
    const count = axes.reduce((product, a) => product * x.shape[a], 1);
    return spread(tf.div(dy, count), x, axes);
  }),
  {
    kernelName: tf.Max,
    inputsToSave: ['x'],
    outputsToSave: [true],
    // Equal maxima share the gradient, as in torch.amax.
    gradFunc: (dy, [x, y], { reductionIndices }) => ({
      x: () => {
        const axes = axesOf(reductionIndices, x.shape);
        const shape = keptShape(x.shape, axes);
        // Not a cast: TF.js's transposition on WebGPU does not compile for what was cast from bool.
        const top = tf.where(tf.equal(x, tf.reshape(y, shape)), 1, 0);
        return tf.mul(tf.div(tf.reshape(dy, shape), tf.sum(top, axes, true)), top);
      },
    }),
  },
  {
    kernelName: tf.Slice,
    inputsToSave: ['x'],
    gradFunc: (dy, [x], { begin, size }) => ({
      x: () => {
        const [from, taken] = tf.slice_util.parseSliceParams(
          x,
          begin as number | number[],
          size as number | number[],
        );
        return tf.pad(
          dy,
          from.map((at, axis): [number, number] => [at, x.shape[axis] - at - taken[axis]]),
        );
      },
    }),
  },
  ofShape(tf.PadV2, (dy, x, { paddings }) =>
    tf.slice(
      dy,
      (paddings as [number, number][]).map(([before]) => before),
      x.shape,
    ),
  ),
  {
    kernelName: tf.Transpose,
    gradFunc: (dy, _, { perm }) => ({
      x: () => tf.transpose(dy, tf.backend_util.getUndoAxesPermutation(perm as number[])),
    }),
  },
  {
    kernelName: tf.SplitV,
    // The tape hands over one dy for each part; for a single part the dy itself.
    gradFunc: (dy, _, { axis }) => ({
      x: () => (Array.isArray(dy) ? tf.concat(dy as tf.Tensor[], axis as number) : tf.clone(dy)),
    }),
  },
  {
    kernelName: tf.Concat,
    saveAllInputs: true,
    gradFunc: (dy, parts, { axis }) => {
      const along = axesOf(axis, parts[0].shape)[0];
      const pieces = tf.split(
        dy,
        parts.map((p) => p.shape[along]),
        along,
      );
      return Object.fromEntries(pieces.map((piece, i) => [i, () => piece]));
    },
  },
  {
    kernelName: tf.GatherV2,
    inputsToSave: ['x', 'indices'],
    gradFunc: (dy, [x, indices], { axis }) => {
      if (axesOf(axis, x.shape)[0] !== 0) throw new Error('gradients of gather are written for rows only');
      return { x: () => scatterRows(dy, x, indices), indices: () => tf.zerosLike(indices) };
    },
  },
];
