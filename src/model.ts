import * as tf from '@tensorflow/tfjs-core';
import { type CuSeqlens, cumulate, embed } from '../kernels/index.ts';
import { decoder } from './decoder/decoder.ts';
import { decoderRotary, type Positions, ropePositions } from './decoder/positions.ts';
import { InputError } from './errors.ts';
import type { Observe } from './layers/observe.ts';
import { disposeRotary } from './layers/rotary.ts';
import type { ModelConfig } from './model-config.ts';
import type { ModelParams } from './params.ts';
import { type Images, visionTower } from './vision/tower.ts';
import type { Grid } from './vision/windows.ts';

// The spine: from ids and patches to hidden states.
//
//   text ── ids [T] ── embed ──────────────┐
//                                          ├─ merge ─ x [T, D] ─ L × block(+LoRA) ─ norm ─ hidden [T, D]
//   image ─ patches [P, 1176] ─ tower ─ [M, D] ┘

/** One text, or one image with its frame of text. `grids` are the images whose placeholders stand in `ids`, in order. */
export type Sequence = { readonly ids: Int32Array; readonly grids?: readonly Grid[] };

/** What runs around the computation: a hook to look inside, and a way to stop. */
export type RunOptions = { readonly observe?: Observe; readonly signal?: AbortSignal };

/** Images → visual tokens [M, D], owned by the caller. No adapter touches them: compute once, use for every task. */
export const see = (
  params: ModelParams,
  config: ModelConfig,
  images: Images,
  { observe, signal }: RunOptions = {},
): Promise<tf.Tensor2D> => visionTower(params.visual, images, config.vision, observe, signal);

/**
 * Packed sequences → hidden states after the final norm, [T, D] with T the sum of all lengths, owned by the caller.
 * `seen`: the visual tokens of all images in the sequences, in order. Sequences do not see each other.
 */
export async function forward(
  params: ModelParams,
  config: ModelConfig,
  sequences: readonly Sequence[],
  seen: tf.Tensor2D | null = null,
  { observe, signal }: RunOptions = {},
): Promise<tf.Tensor2D> {
  const { ids, cuSeqlens, positions } = packSequences(sequences, config);
  const text = await embed(params.model.embedTokens, ids, signal); //                          [T, D]
  const x = mergeStream(text, seen, ids, config.tokens.image); //                              [T, D]
  const rotary = decoderRotary(positions, config.decoder); //                                  [T, H]
  try {
    observe?.('merged', x);
    return await decoder(params.model, x, { rotary, cuSeqlens, config: config.decoder }, observe, signal);
  } finally {
    x.dispose(); // where the decoder has not come to it
    disposeRotary(rotary);
  }
}

/** Sequences one after the other: ids [T], where each ends, and the positions of their tokens. */
export function packSequences(sequences: readonly Sequence[], config: ModelConfig): Packed {
  const merge = config.vision.spatialMergeSize;
  return {
    ids: Int32Array.from(sequences.flatMap((s) => [...s.ids])),
    cuSeqlens: cumulate(sequences.map((s) => s.ids.length)),
    positions: sequences.map((s) =>
      ropePositions(
        s.ids,
        config.tokens.image,
        (s.grids ?? []).map(([, rows, columns]) => [rows / merge, columns / merge]),
      ),
    ),
  };
}

export type Packed = {
  readonly ids: Int32Array;
  readonly cuSeqlens: CuSeqlens;
  readonly positions: readonly Positions[];
};

/** Puts the visual tokens where the placeholders stand. Takes `text` [T, D] over and returns the stream [T, D]. */
export function mergeStream(
  text: tf.Tensor2D,
  seen: tf.Tensor2D | null,
  ids: Int32Array,
  imageToken: number,
): tf.Tensor2D {
  const visual = seen?.shape[0] ?? 0;
  let holes = 0;
  // Row t of the stream is row source[t] of [text; seen].
  const source = ids.map((id, t) => (id === imageToken ? ids.length + holes++ : t));
  if (holes !== visual) {
    text.dispose();
    throw new InputError(
      `the ids have ${holes} image placeholders, but the images give ${visual} visual tokens; ` +
        'write one placeholder for each merged block of patches',
    );
  }
  if (!seen) return text;
  return tf.tidy(() => {
    const merged: tf.Tensor2D = tf.gather(tf.concat([text, seen], 0), tf.tensor1d(source, 'int32'));
    text.dispose();
    return merged;
  });
}
