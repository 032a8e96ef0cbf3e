import * as tf from '@tensorflow/tfjs-core';
import { decoderBlock } from '../decoder/block.ts';
import { decoderRotary } from '../decoder/positions.ts';
import { multiVectors } from '../heads/heads.ts';
import { rmsNorm } from '../layers/rms-norm.ts';
import { rotaryTables } from '../layers/rotary.ts';
import { mergeStream, packSequences } from '../model.ts';
import type { ModelConfig } from '../model-config.ts';
import type { ModelParams } from '../params.ts';
import { embedPatches, mergePatches, towerPlan, towerStep } from '../vision/tower.ts';
import { type RunBlock, throughBlocks } from './block-runner.ts';
import { imagesOf, poolingMatrix, type Stream } from './train-input.ts';

// The same layers as src/model.ts in one synchronous sweep: the tape of TF.js covers one function call, so nothing may
// be awaited inside it. What is frozen (the table's rows, perhaps the tower) is computed before and comes in as tensors.

/** What a stream brings to the tape: rows of a frozen table [T, D], visual tokens [M, D] of a frozen tower. */
export type Frozen = { readonly text: tf.Tensor2D | null; readonly seen: tf.Tensor2D | null };

/** Vectors of a stream: means of spans, not normalised [S, D], and a unit vector for every token [T, E] where asked. */
export type Encoded = { readonly pooled: tf.Tensor2D; readonly tokens: tf.Tensor2D | null };

export type EncodeOptions = { readonly multi: boolean; readonly runBlock: RunBlock };

/** A packed stream → its vectors. Call inside a tidy. */
export function encode(
  params: ModelParams,
  config: ModelConfig,
  stream: Stream,
  frozen: Frozen,
  { multi, runBlock }: EncodeOptions,
): Encoded {
  const sequences = stream.order.map((i) => {
    const { ids, image } = stream.inputs[i];
    return { ids, grids: image ? [image.grid] : [] };
  });
  const { ids, cuSeqlens, positions } = packSequences(sequences, config);
  const text = frozen.text ? tf.clone(frozen.text) : (params.model.embedTokens.gather(ids) as tf.Tensor2D); // [T, D]
  const seen = frozen.seen ?? seeOnTape(params, config, stream, runBlock); //                                   [M, D]
  const x = mergeStream(text, seen, ids, config.tokens.image); //                                               [T, D]
  const rotary = decoderRotary(positions, config.decoder);
  const last = throughBlocks(params.model.layers, x, rotary, runBlock, (block, h, _, tables) =>
    decoderBlock(block, h, tables, config.decoder, cuSeqlens),
  );
  const hidden = rmsNorm(params.model.norm, last, config.decoder.rmsNormEps); //                                [T, D]
  return {
    pooled: tf.matMul(poolingMatrix(stream), hidden), //                                                        [S, D]
    tokens: multi ? multiVectors(params.multiVectorProjector, hidden) : null, //                                [T, E]
  };
}

function seeOnTape(
  { visual }: ModelParams,
  { vision }: ModelConfig,
  stream: Stream,
  runBlock: RunBlock,
): tf.Tensor2D | null {
  const images = imagesOf(stream);
  if (!images) return null;
  const { order, values } = towerPlan(images.grids, vision);
  const rotary = rotaryTables([values]);
  const patches = embedPatches(visual, images.pixelValues, order, vision);
  return mergePatches(
    visual,
    throughBlocks(visual.blocks, patches, rotary, runBlock, towerStep(order, vision)),
    order,
  );
}
