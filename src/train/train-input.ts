import * as tf from '@tensorflow/tfjs-core';
import type { Span } from '../../kernels/index.ts';
import type { Grid } from '../vision/windows.ts';

/**
 * One tokenised text, or one image cut into patches with its frame of ids. What `prepareText` and `prepareImage` give
 * fits; a script may make its own.
 */
export type TrainInput = {
  readonly ids: Int32Array;
  /** Rows whose mean is the single vector. Not given: all. */
  readonly span?: Span;
  /** Patches [P · patchValues], block after block of 2×2 (see image/patchify), and their grid. */
  readonly image?: { readonly pixelValues: Float32Array; readonly grid: Grid } | null;
};

/** Inputs as they lie in one packed stream: `order[k]` is the input at place k, `begins[i]` the first row of input i. */
export type Stream = {
  readonly inputs: readonly TrainInput[];
  readonly order: readonly number[];
  readonly begins: readonly number[];
  readonly rows: number;
};

/** Equal lengths become neighbours: they share one attention matmul. */
export function streamOf(inputs: readonly TrainInput[]): Stream {
  const order = inputs
    .map((_, i) => i)
    .sort(
      (a, b) =>
        inputs[b].ids.length - inputs[a].ids.length ||
        Number(!!inputs[a].image) - Number(!!inputs[b].image) ||
        a - b,
    );
  const begins = new Array<number>(inputs.length);
  let rows = 0;
  for (const i of order) {
    begins[i] = rows;
    rows += inputs[i].ids.length;
  }
  return { inputs, order, begins, rows };
}

/** The patches of a stream's images, in its order; `null` where it has texts only. */
export function imagesOf({
  inputs,
  order,
}: Stream): { pixelValues: Float32Array; grids: readonly Grid[] } | null {
  const images = order.flatMap((i) => inputs[i].image ?? []);
  if (images.length === 0) return null;
  const pixelValues = new Float32Array(images.reduce((sum, i) => sum + i.pixelValues.length, 0));
  let at = 0;
  for (const image of images) {
    pixelValues.set(image.pixelValues, at);
    at += image.pixelValues.length;
  }
  return { pixelValues, grids: images.map((i) => i.grid) };
}

/**
 * The mean over each input's span as one matrix: a product goes back through the tape in one step, where a slice a span
 * would pad the whole stream once for each.   → [S, T]
 */
export function poolingMatrix({ inputs, begins, rows }: Stream): tf.Tensor2D {
  const values = new Float32Array(inputs.length * rows);
  inputs.forEach(({ ids, span = { begin: 0, end: ids.length } }, i) => {
    const from = i * rows + begins[i];
    values.fill(1 / (span.end - span.begin), from + span.begin, from + span.end);
  });
  return tf.tensor2d(values, [inputs.length, rows]);
}
