import * as tf from '@tensorflow/tfjs-core';
import { type CuSeqlens, cumulate } from '../../kernels/index.ts';
import { type SelfAttention, selfAttention, selfAttentionSpec } from '../decoder/attention.ts';
import { type DecoderBlock, decoderBlock, decoderBlockSpec } from '../decoder/block.ts';
import { decoderRotary, type Positions } from '../decoder/positions.ts';
import type { Rotary } from '../layers/rotary.ts';
import type { DecoderConfig } from '../model-config.ts';
import type { LayerKind, Packed } from './layer-kind.ts';

// Texts: every sequence counts its positions from 0. The tokens of images have positions of their own (M-RoPE), which a
// stock layer's input does not tell; for those there is the model itself.

export const selfAttentionKind: LayerKind<DecoderConfig, SelfAttention> = {
  input: 'sequences',
  width: (config) => config.hiddenSize,
  spec: (config) => selfAttentionSpec('attention', config),
  call: (p, x, config, packed) =>
    tf.tidy(() =>
      selfAttention(p, x, textRotary(config, packed), config, sequencesOf(packed), tf.zerosLike(x)),
    ),
  outputShape: (shape) => shape,
};

export const decoderBlockKind: LayerKind<DecoderConfig, DecoderBlock> = {
  input: 'sequences',
  width: (config) => config.hiddenSize,
  spec: (config) => decoderBlockSpec('block', config),
  call: (p, x, config, packed) => decoderBlock(p, x, textRotary(config, packed), config, sequencesOf(packed)),
  outputShape: (shape) => shape,
};

const sequencesOf = ({ batch, rows }: Packed): CuSeqlens => cumulate(new Array<number>(batch).fill(rows));

/** Tables of `batch` texts of one length. Called inside a tidy, which frees them. */
function textRotary(config: DecoderConfig, { batch, rows }: Packed): Rotary {
  const axis = Int32Array.from({ length: rows }, (_, t) => t);
  const positions: Positions = [axis, axis, axis];
  return decoderRotary(new Array<Positions>(batch).fill(positions), config);
}
