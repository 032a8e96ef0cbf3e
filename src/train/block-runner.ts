import type * as tf from '@tensorflow/tfjs-core';
import { InputError } from '../errors.ts';
import type { Blocks } from '../layers/blocks.ts';

/** Runs one block on the tape. `parameters`: what the block may hold variables in. */
export type RunBlock = <B>(block: B, x: tf.Tensor2D, step: (x: tf.Tensor2D) => tf.Tensor2D) => tf.Tensor2D;

/** Every value that the way back needs stays in memory. */
export const keepAll: RunBlock = (_, x, step) => step(x);

/** All blocks of a tower, in order.   x: [T, D] → [T, D] */
export function throughBlocks<B>(
  blocks: Blocks<B>,
  x: tf.Tensor2D,
  runBlock: RunBlock,
  step: (block: B, x: tf.Tensor2D, i: number) => tf.Tensor2D,
): tf.Tensor2D {
  return residentList(blocks).reduce(
    (h, block, i) => runBlock(block, h, (input) => step(block, input, i)),
    x,
  );
}

/** @throws InputError for blocks that are read from disk: a tape needs them all */
export function residentList<B>(blocks: Blocks<B>): readonly B[] {
  if (!blocks.resident) {
    throw new InputError(
      'a model whose blocks are streamed from disk cannot be trained; load it with residence "float32" or "bfloat16"',
    );
  }
  return Array.from({ length: blocks.length }, (_, i) => blocks.take(i) as B);
}
