import * as tf from '@tensorflow/tfjs-core';
import { InputError } from '../../src/errors.ts';
import { dims } from '../dims.ts';
import { defineKernel } from '../registry.ts';
import { composedSwiglu } from '../swiglu/swiglu.ts';
import type { Matrix } from './matrix.ts';

/** What may stand between the two LoRA matrices. `none` is LoRA as published; `relu` makes it a small adapter MLP. */
export type LoraActivation = 'none' | 'relu';

/** One low-rank term: scale · act(x A) B.   a: [in, R], b: [R, out], stored like any other matrix. */
export type LoraTerm = {
  readonly a: Matrix;
  readonly b: Matrix;
  readonly scale: number;
  readonly activation: LoraActivation;
};

export type LinearInputs = {
  readonly x: tf.Tensor2D;
  readonly weight: Matrix;
  readonly bias: tf.Tensor1D | null;
  readonly lora: readonly LoraTerm[];
  /** [T, out]: the result becomes silu(gate) ⊙ result, as in SwiGLU. */
  readonly gate?: tf.Tensor2D;
  /** [T, out]: added to the result, last of all. */
  readonly residual?: tf.Tensor2D;
};

type Attrs = Record<string, never>;

/** x W + b + Σ scale · act(x A) B, in stock ops (Hu et al. 2021; several active adapters add up, as in PEFT). */
export function composedLinear(inputs: LinearInputs): tf.Tensor2D {
  const { x, weight, bias, lora } = inputs;
  let y: tf.Tensor2D = tf.matMul(x, weight.dense());
  if (bias) y = tf.add(y, bias);
  return leave(addLora(y, x, lora), inputs);
}

/** What a result meets on its way out: gate and residual, where they are given.   y: [T, out] → [T, out] */
export function leave(
  y: tf.Tensor2D,
  { gate, residual }: Pick<LinearInputs, 'gate' | 'residual'>,
): tf.Tensor2D {
  const gated = gate ? composedSwiglu({ gate, up: y }) : y;
  return residual ? tf.add(residual, gated) : gated;
}

/** y + Σ scale · act(x A) B.   y: [T, out], x: [T, in] → [T, out] */
export function addLora(y: tf.Tensor2D, x: tf.Tensor2D, lora: readonly LoraTerm[]): tf.Tensor2D {
  for (const { a, b, scale, activation } of lora) {
    const low: tf.Tensor2D = tf.matMul(x, a.dense()); //                                    [T, R]
    const mid = activation === 'relu' ? tf.relu(low) : low;
    const delta = tf.matMul(mid, b.dense()); //                                             [T, out]
    y = tf.add(y, scale === 1 ? delta : tf.mul(delta, scale));
  }
  return y;
}

const run = defineKernel<LinearInputs, Attrs>('Linear', composedLinear);

/** Affine map with low-rank terms, gated and added where asked for.   x: [T, in] → [T, out] */
export function linear(inputs: LinearInputs): tf.Tensor2D {
  const { inSize, outSize } = inputs.weight;
  const { T } = dims(inputs.x, 'T In', { In: inSize });
  for (const other of [inputs.gate, inputs.residual]) if (other) dims(other, 'T Out', { T, Out: outSize });
  for (const { a, b } of inputs.lora) {
    if (a.inSize !== inSize || b.outSize !== outSize || a.outSize !== b.inSize) {
      throw new InputError(
        `a LoRA of A [${a.inSize}, ${a.outSize}] and B [${b.inSize}, ${b.outSize}] does not fit a matrix [${inSize}, ${outSize}]`,
      );
    }
  }
  if (inputs.bias && inputs.bias.size !== outSize) {
    throw new InputError(`bias has ${inputs.bias.size} values, the matrix has ${outSize} columns`);
  }
  return run(inputs, {}) as tf.Tensor2D;
}
