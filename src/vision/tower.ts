import * as tf from '@tensorflow/tfjs-core';
import { type Blocks, runBlocks } from '../layers/blocks.ts';
import { type Linear, linear, linearSpec } from '../layers/linear.ts';
import type { Observe } from '../layers/observe.ts';
import { recent } from '../layers/recent.ts';
import { disposeRotary, type Rotary, type RotaryValues, rotaryTables } from '../layers/rotary.ts';
import type { SpecOf } from '../layers/spec.ts';
import type { VisionConfig } from '../model-config.ts';
import { type VisionBlock, visionBlock, visionBlockSpec } from './block.ts';
import { type Merger, merger, mergerSpec } from './merger.ts';
import { visionRotary } from './rotary.ts';
import { type Grid, type WindowOrder, windowOrder } from './windows.ts';

export type VisionTower = {
  readonly patchEmbed: Linear;
  readonly blocks: Blocks<VisionBlock>;
  readonly merger: Merger;
};

export const visionTowerSpec = (key: string, c: VisionConfig): SpecOf<VisionTower> => ({
  // A Conv3d whose kernel is its stride is a matmul over flattened patches.
  patchEmbed: linearSpec(`${key}.patch_embed.proj`, c.patchValues, c.hiddenSize, {
    bias: false,
    shape: [c.hiddenSize, c.inChannels, c.temporalPatchSize, c.patchSize, c.patchSize],
  }),
  blocks: Array.from({ length: c.depth }, (_, i) => visionBlockSpec(`${key}.blocks.${i}`, c)),
  merger: mergerSpec(`${key}.merger`, c),
});

/** Patches of one or more images, block after block of 2×2 (see image/patchify), and their grids. */
export type Images = { readonly pixelValues: Float32Array; readonly grids: readonly Grid[] };

// Window order and rotary angles of the latest shapes: pages of one size come in rows.
const plans = recent<Plan>(8);

type Plan = { readonly order: WindowOrder; readonly values: RotaryValues };

/** Window order and rotary angles of images of these shapes. Plain data. */
export const towerPlan = (grids: readonly Grid[], config: VisionConfig): Plan =>
  plans(`${JSON.stringify(config)}:${grids.join(';')}`, () => {
    const order = windowOrder(grids, config);
    return { order, values: visionRotary(grids, order, config) };
  });

/**
 * Images → visual tokens in raster order (transformers: Qwen2_5_VisionTransformerPretrainedModel.forward).
 * pixelValues: [P, patchValues] → [M, D], owned by the caller. No adapters here: one run serves every task.
 */
export async function visionTower(
  p: VisionTower,
  { pixelValues, grids }: Images,
  config: VisionConfig,
  observe?: Observe,
  signal?: AbortSignal,
): Promise<tf.Tensor2D> {
  const { order, values } = towerPlan(grids, config);
  const rotary = rotaryTables([values]);
  const step = towerStep(order, config);
  const patches = embedPatches(p, pixelValues, order, config, observe);
  try {
    const seen = await runBlocks(
      p.blocks,
      patches,
      (block, x, i) => {
        const y = step(block, x, i, rotary);
        observe?.(`vision.blocks.${i}`, y);
        return y;
      },
      signal,
    );
    try {
      return mergePatches(p, seen, order, observe);
    } finally {
      seen.dispose();
    }
  } finally {
    disposeRotary(rotary);
  }
}

/** pixelValues: [P · patchValues] in raster order of merge blocks → [P, C] in window order */
export const embedPatches = (
  p: VisionTower,
  pixelValues: Float32Array,
  order: WindowOrder,
  config: VisionConfig,
  observe?: Observe,
): tf.Tensor2D =>
  tf.tidy('patchEmbed', () => {
    const values = tf.tensor2d(pixelValues, [
      order.index.length * config.spatialMergeSize ** 2,
      config.patchValues,
    ]);
    const embedded = linear(p.patchEmbed, values); //                              [P, C]
    observe?.('vision.patch_embed', embedded);
    return reorder(embedded, order.index); //                                      [P, C], window order from here
  });

/** What block `i` does, with its own kind of attention.   x: [P, C] → [P, C] */
export function towerStep(order: WindowOrder, config: VisionConfig) {
  const full = new Set(config.fullattBlockIndexes);
  return (block: VisionBlock, x: tf.Tensor2D, i: number, rotary: Rotary): tf.Tensor2D => {
    const cuSeqlens = full.has(i) ? order.cuSeqlens : order.cuWindowSeqlens;
    return visionBlock(block, x, rotary, { heads: config.numHeads, cuSeqlens });
  };
}

/** x: [P, C] in window order → visual tokens [M, D] in raster order */
export const mergePatches = (
  p: VisionTower,
  x: tf.Tensor2D,
  order: WindowOrder,
  observe?: Observe,
): tf.Tensor2D =>
  tf.tidy('visionOut', () => {
    const tokens = merger(p.merger, x); //                                         [M, D]
    observe?.('vision.merger', tokens);
    const raster = reorder(tokens, order.inverse);
    observe?.('vision.out', raster);
    return raster;
  });

/** Rows in groups (merge blocks) taken in a new order.   x: [n·g, w], index: [n] → [n·g, w] */
function reorder(x: tf.Tensor2D, index: Int32Array): tf.Tensor2D {
  const [rows, width] = x.shape;
  const groups = tf.reshape(x, [index.length, (rows / index.length) * width]);
  return tf.reshape(tf.gather(groups, tf.tensor1d(index, 'int32')), [rows, width]);
}
