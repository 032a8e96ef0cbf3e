import type * as tf from '@tensorflow/tfjs-core';
import type { CuSeqlens, EmbeddingTable } from '../../kernels/index.ts';
import { type Blocks, runBlocks } from '../layers/blocks.ts';
import type { Observe } from '../layers/observe.ts';
import { type RmsNorm, rmsNorm, rmsNormSpec } from '../layers/rms-norm.ts';
import type { Rotary } from '../layers/rotary.ts';
import { type SpecOf, tableSpec } from '../layers/spec.ts';
import type { DecoderConfig } from '../model-config.ts';
import { type DecoderBlock, decoderBlock, decoderBlockSpec } from './block.ts';

export type Decoder = {
  readonly embedTokens: EmbeddingTable;
  readonly layers: Blocks<DecoderBlock>;
  readonly norm: RmsNorm;
};

export const decoderSpec = (key: string, c: DecoderConfig): SpecOf<Decoder> => ({
  embedTokens: tableSpec(`${key}.embed_tokens.weight`, c.vocabSize, c.hiddenSize),
  layers: Array.from({ length: c.numHiddenLayers }, (_, i) => decoderBlockSpec(`${key}.layers.${i}`, c)),
  norm: rmsNormSpec(`${key}.norm`, c.hiddenSize),
});

/**
 * All blocks and the final norm. Causal although it embeds: that is how the model was trained.
 * x: [T, D] packed sequences → [T, D], owned by the caller. Takes x over, and disposes nothing else.
 */
export async function decoder(
  p: Decoder,
  x: tf.Tensor2D,
  { rotary, cuSeqlens, config }: { rotary: Rotary; cuSeqlens: CuSeqlens; config: DecoderConfig },
  observe?: Observe,
  signal?: AbortSignal,
): Promise<tf.Tensor2D> {
  const last = await runBlocks(
    p.layers,
    x,
    (block, h, i) => {
      const y = decoderBlock(block, h, rotary, config, cuSeqlens);
      observe?.(`decoder.layers.${i}`, y);
      return y;
    },
    signal,
  );
  try {
    const hidden = rmsNorm(p.norm, last, config.rmsNormEps);
    observe?.('decoder.norm', hidden);
    return hidden;
  } finally {
    last.dispose();
  }
}
