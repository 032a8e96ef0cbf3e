import * as tf from '@tensorflow/tfjs-core';
import { withGradient } from '../../kernels/index.ts';
import { isBlocks, isLinear, isTable, isTensor } from '../params.ts';
import type { RunBlock } from './block-runner.ts';

/**
 * Gradient checkpointing (Chen et al. 2016): of a block only its input is kept, and the block runs again on the way back.
 * Memory for one block instead of all, about a third more time, the same gradients.
 */
export const recomputeBlocks: RunBlock = (block, x, rotary, step) => {
  const variables = variablesIn(block);
  return withGradient(
    [x, rotary.cos, rotary.sin, ...variables],
    () => tf.tidy(() => step(x, rotary)),
    (dy, [input, cos, sin]) => {
      const again = (h: tf.Tensor2D) => step(h, { cos: cos as tf.Tensor2D, sin: sin as tf.Tensor2D });
      const [dx, ...rest] = nested(() => blockGradients(again, input as tf.Tensor2D, variables, dy));
      return [dx, cos, sin, ...rest].map((g) => () => g); // nobody asks for those of the tables
    },
  ) as tf.Tensor2D;
};

function blockGradients(
  step: (x: tf.Tensor2D) => tf.Tensor2D,
  input: tf.Tensor2D,
  variables: readonly tf.Variable[],
  dy: tf.Tensor,
): readonly tf.Tensor[] {
  const { value, grads } = tf.engine().gradients(() => step(input), [input, ...variables], dy, true) as {
    value: tf.Tensor;
    grads: (tf.Tensor | undefined)[];
  };
  value.dispose();
  return [input, ...variables].map((v, i) => grads[i] ?? tf.zerosLike(v));
}

/**
 * Takes gradients while the tape is being walked backwards. TF.js begins each tape by forgetting the last, and frees what a
 * tape holds at its end: so the outer one is put aside. (tfjs-core: engine.ts, startTape and gradients)
 */
function nested<T>(f: () => T): T {
  const { state } = tf.engine() as unknown as { state: { activeTape: unknown } };
  const outer = state.activeTape;
  try {
    return f();
  } finally {
    state.activeTape = outer;
  }
}

/** The variables among a block's parameters. */
function variablesIn(node: unknown): readonly tf.Variable[] {
  if (isTensor(node)) return node instanceof tf.Variable ? [node] : [];
  if (isTable(node) || isBlocks(node) || node === null) return [];
  if (isLinear(node)) {
    const matrices = [node.weight, ...node.lora.flatMap(({ a, b }) => [a, b])];
    // A packed matrix is never a variable, and asking for its tensor would widen it.
    const dense = matrices.filter((m) => m.storage === 'float32').map((m) => m.dense());
    const vectors = [node.bias, ...node.lora.flatMap(({ bBias, dora }) => [bBias, dora?.magnitude])];
    return [...dense, ...vectors.filter((v) => v)].flatMap(variablesIn);
  }
  return Object.values(node as object).flatMap(variablesIn);
}
