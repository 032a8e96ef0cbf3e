import * as tf from '@tensorflow/tfjs-core';
import { InputError } from '../../src/errors.ts';
import { dims } from '../dims.ts';
import type { Span } from '../pool/pool.ts';
import { defineKernel, tapeIsOn } from '../registry.ts';
import { composedSwiglu, swiglu } from '../swiglu/swiglu.ts';
import { linearBackward } from './linear-gradient.ts';
import type { Matrix } from './matrix.ts';

/** What may stand between the two LoRA matrices. `none` is LoRA as published; `relu` makes it a small adapter MLP. */
export type LoraActivation = 'none' | 'relu';

/** One low-rank term: δ = scale · (act(x A) B + bBias).   a: [in, R], b: [R, out], stored like any other matrix. */
export type LoraTerm = {
  readonly a: Matrix;
  readonly b: Matrix;
  readonly scale: number;
  readonly activation: LoraActivation;
  /** [out]; PEFT's `lora_bias`. */
  readonly bBias?: tf.Tensor1D | null;
  /** Not given: plain LoRA, y + δ. */
  readonly dora?: Dora;
  /** The rows of x that it is for; the others it leaves as they are. Not given: all. */
  readonly rows?: Span;
};

/** DoRA (Liu et al. 2024): the map's columns keep a learned length.   y + weight · ((m/n − 1) · (y − b) + m/n · δ) */
export type Dora = {
  /** m [out], `lora_magnitude_vector`. */
  readonly magnitude: tf.Tensor1D;
  /** n [out]: the lengths of the columns of W + scale · A B, a constant of the frozen map; `null` until they are measured. */
  readonly norm: tf.Tensor1D | null;
  /** The part of the whole change that is added: 1, or the adapter's weight in a mix. */
  readonly weight: number;
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

/** x W + b + Σ δ, in stock ops (Hu et al. 2021; several active adapters add up, as in PEFT). */
export function composedLinear(inputs: LinearInputs): tf.Tensor2D {
  const { x, weight, bias, lora } = inputs;
  let y: tf.Tensor2D = tf.matMul(x, weight.dense());
  if (bias) y = tf.add(y, bias);
  return leave(addLora(y, x, lora, bias), inputs);
}

/** What a result meets on its way out: gate and residual, where they are given.   y: [T, out] → [T, out] */
export function leave(
  y: tf.Tensor2D,
  { gate, residual }: Pick<LinearInputs, 'gate' | 'residual'>,
): tf.Tensor2D {
  const gated = gate ? composedSwiglu({ gate, up: y }) : y;
  return residual ? tf.add(residual, gated) : gated;
}

/**
 * The terms on top of y = x W + b, one after the other: a DoRA term stretches what stands before it, so their order counts.
 * y: [T, out], x: [T, in] → [T, out]   (peft: tuners/lora/layer.py, Linear.forward; dora.py, DoraLinearLayer.forward)
 */
export function addLora(
  y: tf.Tensor2D,
  x: tf.Tensor2D,
  lora: readonly LoraTerm[],
  bias: tf.Tensor1D | null,
): tf.Tensor2D {
  if (lora.some(({ rows }) => rows)) return addToRows(y, x, lora, bias);
  for (const { a, b, scale, activation, bBias, dora } of lora) {
    const low: tf.Tensor2D = tf.matMul(x, a.dense()); //                                    [T, R]
    const mid = activation === 'relu' ? tf.relu(low) : low;
    let delta: tf.Tensor2D = tf.matMul(mid, b.dense()); //                                  [T, out]
    if (bBias) delta = tf.add(delta, bBias);
    if (scale !== 1) delta = tf.mul(delta, scale);
    y = tf.add(y, dora ? stretched(dora, bias ? tf.sub(y, bias) : y, delta) : delta);
  }
  return y;
}

/** The same where some terms are for some rows. */
function addToRows(
  y: tf.Tensor2D,
  x: tf.Tensor2D,
  lora: readonly LoraTerm[],
  bias: tf.Tensor1D | null,
): tf.Tensor2D {
  for (const { rows, ...term } of lora) {
    if (rows) y = changeRows(y, rows, (part) => addLora(part, rowsOf(x, rows), [term], bias));
    else y = addLora(y, x, [term], bias);
  }
  return y;
}

const rowsOf = (x: tf.Tensor2D, { begin, end }: Span): tf.Tensor2D =>
  tf.slice(x, [begin, 0], [end - begin, x.shape[1]]);

/** y with some of its rows changed. */
function changeRows(y: tf.Tensor2D, rows: Span, change: (part: tf.Tensor2D) => tf.Tensor2D): tf.Tensor2D {
  const before = { begin: 0, end: rows.begin };
  const after = { begin: rows.end, end: y.shape[0] };
  const parts = [before, rows, after].filter(({ begin, end }) => begin < end);
  return tf.concat(
    parts.map((span) => (span === rows ? change(rowsOf(y, rows)) : rowsOf(y, span))),
    0,
  );
}

/** weight · ((m/n − 1) · y + m/n · δ)   y, δ: [T, out] → [T, out] */
export function stretched(
  { magnitude, norm, weight }: Dora,
  y: tf.Tensor2D,
  delta: tf.Tensor2D,
): tf.Tensor2D {
  const gain = tf.div(magnitude, norm as tf.Tensor1D); //                                   [out]
  const change: tf.Tensor2D = tf.add(tf.mul(tf.sub(gain, 1), y), tf.mul(gain, delta));
  return weight === 1 ? change : tf.mul(change, weight);
}

/** Whether a term is scale · act(x A) B and nothing else, of all rows or some: what a fused body can add in place. */
export const isPlain = ({ bBias, dora }: LoraTerm): boolean => !bBias && !dora;

const run = defineKernel<LinearInputs, Attrs>('Linear', composedLinear, linearBackward);

/** Affine map with low-rank terms, gated and added where asked for.   x: [T, in] → [T, out] */
export function linear(inputs: LinearInputs): tf.Tensor2D {
  const { inSize, outSize } = inputs.weight;
  const { T } = dims(inputs.x, 'T In', { In: inSize });
  for (const other of [inputs.gate, inputs.residual]) if (other) dims(other, 'T Out', { T, Out: outSize });
  for (const { a, b, bBias, dora, rows } of inputs.lora) {
    if (a.inSize !== inSize || b.outSize !== outSize || a.outSize !== b.inSize) {
      throw new InputError(
        `a LoRA of A [${a.inSize}, ${a.outSize}] and B [${b.inSize}, ${b.outSize}] does not fit a matrix [${inSize}, ${outSize}]`,
      );
    }
    for (const vector of [bBias, dora?.magnitude, dora?.norm]) {
      if (vector && vector.size !== outSize)
        throw new InputError(`a LoRA vector has ${vector.size} values, the matrix has ${outSize} columns`);
    }
    if (rows && !(0 <= rows.begin && rows.begin < rows.end && rows.end <= T))
      throw new InputError(`a LoRA for rows ${rows.begin} to ${rows.end} does not fit ${T} rows`);
    if (dora?.norm === null) {
      throw new InputError(
        'a DoRA term runs once the lengths of its map are known: put its adapter on with model.placeAdapter',
      );
    }
  }
  if (inputs.bias && inputs.bias.size !== outSize) {
    throw new InputError(`bias has ${inputs.bias.size} values, the matrix has ${outSize} columns`);
  }
  if (!tapeIsOn()) return run(inputs, {}) as tf.Tensor2D;
  // Gate and residual have gradients of their own, so they stand apart on the tape.
  const { x, weight, bias, lora, gate, residual } = inputs;
  const y = run({ x, weight, bias, lora }, {}) as tf.Tensor2D;
  const gated = gate ? swiglu(gate, y) : y;
  return residual ? tf.add(residual, gated) : gated;
}
