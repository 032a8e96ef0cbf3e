import * as tf from '@tensorflow/tfjs-core';
import { type Linear, linear, linearSpec } from '../layers/linear.ts';
import { type Rotary, rotaryTables } from '../layers/rotary.ts';
import type { VisionConfig } from '../model-config.ts';
import { type VisionAttention, visionAttention, visionAttentionSpec } from '../vision/attention.ts';
import { type VisionBlock, visionBlock, visionBlockSpec } from '../vision/block.ts';
import { type Merger, merger, mergerSpec } from '../vision/merger.ts';
import { visionRotary } from '../vision/rotary.ts';
import { type Grid, type WindowOrder, windowOrder } from '../vision/windows.ts';
import { gatherRows } from './gather-rows.ts';
import { type LayerKind, type Packed, withLast } from './layer-kind.ts';

// The tower as stock layers: patchEmbed, visionBlocks, merger, rasterOrder. All images of a batch have one size, and between
// patchEmbed and rasterOrder rows stand in window order, as inside the model.

export type VisionOptions = {
  readonly config: VisionConfig;
  /** Rows and columns of an image, in patches. */
  readonly grid: readonly [number, number];
};

export type VisionBlockOptions = VisionOptions & {
  /** Attention inside windows, or over the whole image. */
  readonly windowed: boolean;
};

/** Patches → channels, and from raster into window order.   [batch, P, patchValues] → [batch, P, C] */
export const patchEmbedKind: LayerKind<VisionOptions, Linear> = {
  input: 'sequences',
  width: ({ config }) => config.patchValues,
  spec: ({ config }) => linearSpec('patchEmbed', config.patchValues, config.hiddenSize, { bias: false }),
  call: (p, x, options, packed) => reorder(linear(p, x), orderOf(options, packed).index),
  outputShape: (shape, { config }) => withLast(shape, config.hiddenSize),
};

export const visionAttentionKind: LayerKind<VisionBlockOptions, VisionAttention> = {
  input: 'sequences',
  width: ({ config }) => config.hiddenSize,
  spec: ({ config }) => visionAttentionSpec('attention', config.hiddenSize),
  call: (p, x, options, packed) => {
    const { rotary, attrs } = placesOf(options, packed);
    return tf.tidy(() => visionAttention(p, x, rotary, attrs, tf.zerosLike(x)));
  },
  outputShape: (shape) => shape,
};

export const visionBlockKind: LayerKind<VisionBlockOptions, VisionBlock> = {
  input: 'sequences',
  width: ({ config }) => config.hiddenSize,
  spec: ({ config }) => visionBlockSpec('block', config),
  call: (p, x, options, packed) => {
    const { rotary, attrs } = placesOf(options, packed);
    return visionBlock(p, x, rotary, attrs);
  },
  outputShape: (shape) => shape,
};

/** Patches → visual tokens.   [batch, P, C] → [batch, P/4, D] */
export const mergerKind: LayerKind<{ readonly config: VisionConfig }, Merger> = {
  input: 'sequences',
  width: ({ config }) => config.hiddenSize,
  spec: ({ config }) => mergerSpec('merger', config),
  call: (p, x) => merger(p, x),
  outputShape: ([batch, rows], { config }) => [
    batch,
    rows === null ? null : rows / config.spatialMergeSize ** 2,
    config.outHiddenSize,
  ],
};

/** Visual tokens from window order back into raster order.   [batch, M, D] → [batch, M, D] */
export const rasterOrderKind: LayerKind<VisionOptions, Record<string, never>> = {
  input: 'sequences',
  width: ({ config }) => config.outHiddenSize,
  spec: () => ({}),
  call: (_, x, options, packed) => reorder(x, orderOf(options, packed).inverse),
  outputShape: (shape) => shape,
};

const gridsOf = ({ grid }: VisionOptions, { batch }: Packed): readonly Grid[] =>
  new Array<Grid>(batch).fill([1, ...grid]);

const orderOf = (options: VisionOptions, packed: Packed): WindowOrder =>
  windowOrder(gridsOf(options, packed), options.config);

/** Called inside a tidy, which frees the tables. */
function placesOf(options: VisionBlockOptions, packed: Packed) {
  const { config, windowed } = options;
  const order = orderOf(options, packed);
  const rotary: Rotary = rotaryTables([visionRotary(gridsOf(options, packed), order, config)]);
  const cuSeqlens = windowed ? order.cuWindowSeqlens : order.cuSeqlens;
  return { rotary, attrs: { heads: config.numHeads, cuSeqlens } };
}

/** Rows in groups (merge blocks) taken in a new order, as the tower does.   x: [n·g, w], index: [n] → [n·g, w] */
function reorder(x: tf.Tensor2D, index: Int32Array): tf.Tensor2D {
  const [rows, width] = x.shape;
  const groups: tf.Tensor2D = tf.reshape(x, [index.length, (rows / index.length) * width]);
  return tf.reshape(gatherRows(groups, tf.tensor1d(index, 'int32')), [rows, width]);
}
