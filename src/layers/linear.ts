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

/** The map as some rows of its stream see it, which are `rows` of the whole: a term for others is not there. */
export const onPart = (p: Linear, { begin, end }: ops.Span): Linear => ({
  ...p,
  lora: p.lora.flatMap((term) => {
    if (!term.rows) return [term];
    const rows = { begin: Math.max(term.rows.begin, begin), end: Math.min(term.rows.end, end) };
    return rows.begin < rows.end
      ? [{ ...term, rows: { begin: rows.begin - begin, end: rows.end - begin } }]
      : [];
  }),
});

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
