import type * as tf from '@tensorflow/tfjs-core';
import type { CuSeqlens, LinearInputs, OpCall } from '../../kernels/index.ts';

/** What a call of an op has to do, whatever body does it: floating-point operations, and bytes that it must read and write. */
export type OpCost = { readonly op: string; readonly flops: number; readonly bytes: number };

/** The cost of a call. Weights count as they are stored; each input once, however often a body reads it. */
export function opCost({ name, inputs, attrs }: OpCall, output: tf.Tensor): OpCost {
  if (name === 'Linear') return linearCost(inputs as LinearInputs, output);
  const bytes = 4 * (tensorsOf(inputs).reduce((sum, t) => sum + t.size, 0) + output.size);
  if (name === 'Attention') return { op: name, flops: attentionFlops(inputs, attrs), bytes };
  return { op: name, flops: (FLOPS[name] ?? 1) * output.size, bytes };
}

// A value of the result, roughly: such ops wait for memory, not for arithmetic.
const FLOPS: Readonly<Record<string, number>> = {
  RmsNorm: 4,
  Rope: 3,
  Swiglu: 5,
  Gelu: 8,
  MeanPool: 1,
  L2Normalize: 3,
};

/** 2·T·in·out for the map, 2·T·R·(in + out) for each low-rank term. */
function linearCost({ x, weight, bias, lora, ...more }: LinearInputs, output: tf.Tensor): OpCost {
  const [T] = x.shape;
  const { inSize, outSize } = weight;
  const ranks = lora.reduce((sum, { a }) => sum + a.outSize, 0);
  const stored = lora.reduce((sum, { a, b }) => sum + a.bytes + b.bytes, weight.bytes);
  const taken = tensorsOf(more).reduce((sum, t) => sum + t.size, x.size + (bias?.size ?? 0));
  return {
    op: `Linear ${inSize} → ${outSize}`,
    flops: 2 * T * (inSize * outSize + ranks * (inSize + outSize)),
    bytes: stored + 4 * (taken + output.size),
  };
}

/** Scores and their product with the values: 4·L²·N·H a segment, half of it where later keys are not seen. */
function attentionFlops(inputs: unknown, attrs: unknown): number {
  const { q } = inputs as { readonly q: tf.Tensor2D };
  const { cuSeqlens, causal } = attrs as { readonly cuSeqlens: CuSeqlens; readonly causal: boolean };
  const squares = cuSeqlens.slice(1).reduce((sum, end, i) => sum + (end - cuSeqlens[i]) ** 2, 0);
  return 4 * squares * q.shape[1] * (causal ? 0.5 : 1);
}

const tensorsOf = (inputs: unknown): readonly tf.Tensor[] =>
  Object.values(inputs as object).filter(
    (v): v is tf.Tensor => typeof v === 'object' && v !== null && 'dataId' in v,
  );
