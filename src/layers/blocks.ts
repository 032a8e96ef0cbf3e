import type * as tf from '@tensorflow/tfjs-core';
import { sizesChange } from '../../kernels/index.ts';

/** The blocks of a tower, in order: resident, or read from disk just before their turn. */
export interface Blocks<B> {
  readonly length: number;
  /** Whether all blocks are in memory, so that `take` answers at once. */
  readonly resident: boolean;
  /** Block `i`, ready to compute. A streamed block may be asked for only in order. */
  take(i: number, signal?: AbortSignal): B | Promise<B>;
  /** Block `i` has done its work in this pass; a streamed one gives its memory back. */
  release(i: number): void;
}

/** Blocks that stay in memory. */
export const residentBlocks = <B>(blocks: readonly B[]): Blocks<B> => ({
  length: blocks.length,
  resident: true,
  take: (i) => blocks[i],
  release: () => {},
});

/** The same blocks, each seen through `view` when its turn comes. */
export const mapBlocks = <B>(blocks: Blocks<B>, view: (block: B, i: number) => B): Blocks<B> => ({
  length: blocks.length,
  resident: blocks.resident,
  take: (i, signal) => {
    const block = blocks.take(i, signal);
    return block instanceof Promise ? block.then((b) => view(b, i)) : view(block, i);
  },
  release: (i) => blocks.release(i),
});

/**
 * Passes `input`, which it takes over, through all blocks; the peak is one block, not all of them.
 * `await`s between blocks, because a block may come from disk, and so that an abort or a timer gets its turn.
 */
export async function runBlocks<B>(
  blocks: Blocks<B>,
  input: tf.Tensor2D,
  step: (block: B, x: tf.Tensor2D, i: number) => tf.Tensor2D,
  signal?: AbortSignal,
): Promise<tf.Tensor2D> {
  let x = input;
  sizesChange(); // what made the input had other sizes than a block, and what follows has
  try {
    for (let i = 0; i < blocks.length; i++) {
      signal?.throwIfAborted();
      const block = await blocks.take(i, signal);
      try {
        const next = step(block, x, i);
        x.dispose();
        x = next;
      } finally {
        blocks.release(i);
      }
      await nextTurn();
    }
    sizesChange();
    return x;
  } catch (error) {
    x.dispose();
    throw error;
  }
}

// setTimeout would cost a millisecond or more per block; where there is no setImmediate, a message is as quick.
const nextTurn: () => Promise<void> =
  typeof setImmediate === 'function'
    ? () => new Promise((resolve) => setImmediate(resolve))
    : () =>
        new Promise((resolve) => {
          const { port1, port2 } = new MessageChannel();
          port1.onmessage = () => {
            port1.close();
            resolve();
          };
          port2.postMessage(null);
        });
