import type * as tf from '@tensorflow/tfjs-core';
import * as ops from '../../kernels/index.ts';
import type { LinearSpec } from './spec.ts';

/** An affine map of the model, and the low-rank terms that adapters have put on it. */
export type Linear = {
  /** Module path in the checkpoint, e.g. `model.layers.0.self_attn.q_proj`. */
  readonly name: string;
  readonly weight: ops.Matrix;
  readonly bias: tf.Tensor1D | null;
  readonly lora: readonly ops.LoraTerm[];
};

export const linearSpec = (
  name: string,
  inSize: number,
  outSize: number,
  { bias, shape = [outSize, inSize] }: { bias: boolean; shape?: readonly number[] },
): LinearSpec => ({ leaf: 'linear', name, inSize, outSize, bias, shape });

/** What the result meets on its way out, both [T, out]: silu(gate) ⊙ it, then residual + it. */
export type Leaving = { readonly gate?: tf.Tensor2D; readonly residual?: tf.Tensor2D };

/** x W + b + Σ scale · act(x A) B.   x: [T, in] → [T, out] */
export const linear = (p: Linear, x: tf.Tensor2D, leaving: Leaving = {}): tf.Tensor2D =>
  ops.linear({ ...p, x, ...leaving });
