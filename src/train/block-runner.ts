import type * as tf from '@tensorflow/tfjs-core';
import { InputError } from '../errors.ts';
import type { Blocks } from '../layers/blocks.ts';
import type { Rotary } from '../layers/rotary.ts';

/** A block's work, given the stream and the rotary tables that all blocks share. */
export type Step = (x: tf.Tensor2D, rotary: Rotary) => tf.Tensor2D;

/** Runs one block on the tape. `block`: where its variables are. */
export type RunBlock = (block: unknown, x: tf.Tensor2D, rotary: Rotary, step: Step) => tf.Tensor2D;

/** Every value that the way back needs stays in memory. */
export const keepAll: RunBlock = (_, x, rotary, step) => step(x, rotary);

/** All blocks of a tower, in order.   x: [T, D] → [T, D] */
export const throughBlocks = <B>(
  blocks: Blocks<B>,
  x: tf.Tensor2D,
  rotary: Rotary,
  runBlock: RunBlock,
  step: (block: B, x: tf.Tensor2D, i: number, rotary: Rotary) => tf.Tensor2D,
): tf.Tensor2D =>
  residentList(blocks).reduce(
    (h, block, i) => runBlock(block, h, rotary, (input, tables) => step(block, input, i, tables)),
    x,
  );

/** @throws InputError for blocks that are read from disk: a tape needs them all */
export function residentList<B>(blocks: Blocks<B>): readonly B[] {
  if (!blocks.resident) {
    throw new InputError(
      'a model whose blocks are streamed from disk cannot be trained; load it with residence "float32" or "bfloat16"',
    );
  }
  return Array.from({ length: blocks.length }, (_, i) => blocks.take(i) as B);
}
