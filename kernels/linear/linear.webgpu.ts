import type * as tf from '@tensorflow/tfjs-core';
import type { Span } from '../pool/pool.ts';
import { kernelSettings } from '../product-settings.ts';
import { emptyTensor, webgpuBackend } from '../webgpu/backend.ts';
import { constant, run } from '../webgpu/run.ts';
import { halfInput, weightSizes } from './half-rows.ts';
import { halfTilesShader } from './half-tiles.ts';
import { addLora, isPlain, type LinearInputs, type LoraTerm, leave } from './linear.ts';
import { DEEP, Flag, linearShader, type Variant } from './linear-shaders.ts';
import type { Matrix } from './matrix.ts';
import { matrixTilesShader } from './matrix-tiles.ts';
import { subgroupRowsShader } from './subgroup-rows.ts';
import { chooseWay, possibleHere, sideOf } from './variant-choice.ts';
import { foursOf, isRows, layoutOf } from './webgpu-store.ts';
import type { WeightLayout } from './weight-layouts.ts';

/**
 * One dispatch for low = scale · act(x A), one for everything else: product, low-rank term, bias, gate, residual. Of several
 * low-rank terms each further one is a product of its own, added to the sum so far.
 */
export function webgpuLinear(inputs: LinearInputs): tf.Tensor2D {
  const { x, weight, bias, lora, gate, residual } = inputs;
  // A DoRA stretches what stands before it, so none of the terms beside one can be added inside the product.
  if (!lora.every(isPlain)) return leave(addLora(product({ x, weight, bias }), x, lora, bias), inputs);
  const fused = lora.slice(0, 1).filter(({ b }) => stored(b).parts.length === 1);
  const others = lora.slice(fused.length);
  if (others.length === 0) return product({ x, weight, term: fused[0], bias, gate, residual });
  let y = product({ x, weight, term: fused[0], bias });
  for (const term of others) y = product({ x: lowOf(x, term), weight: term.b, residual: y });
  return leave(y, inputs); // a gate multiplies the whole sum
}

type Product = {
  /** [T, in]; or [T, in] padded to fours, as `lowOf` gives it. */
  readonly x: tf.Tensor2D;
  readonly weight: Matrix;
  readonly term?: LoraTerm;
  readonly bias?: tf.Tensor1D | null;
  readonly gate?: tf.Tensor2D;
  readonly residual?: tf.Tensor2D;
  readonly relu?: boolean;
  readonly scale?: number;
  /** Columns of the result; those behind the matrix's become zero. */
  readonly outputs?: number;
  /** Rows of the result that are not zero. Not given: all. */
  readonly only?: Span;
};

/** scale · act(x A), padded to fours with zeros, and zero in rows that the term is not for.   x: [T, in] → [T, 4·⌈R/4⌉] */
const lowOf = (x: tf.Tensor2D, { a, scale, activation, rows }: LoraTerm): tf.Tensor2D =>
  product({ x, weight: a, scale, relu: activation === 'relu', outputs: 4 * foursOf(a.outSize), only: rows });

function product({ x, weight, term, bias, gate, residual, ...rest }: Product): tf.Tensor2D {
  const [rows] = x.shape;
  const { relu = false, scale = 1, outputs = weight.outSize, only = { begin: 0, end: rows } } = rest;
  const low = term && lowOf(x, term);
  const loraB = term && stored(term.b);
  const { layout, parts } = stored(weight);
  const y = emptyTensor<tf.Tensor2D>(webgpuBackend(), [rows, outputs]);
  const fourByFour = x.shape[1] % 4 === 0;
  const settings = kernelSettings();
  const possible = possibleHere(rows, outputs, fourByFour); // one for all parts: another would add up in another order
  const { plan, matrixPlan } = possible;
  const way = chooseWay(possible, settings);
  const side = sideOf(possible, way);
  const fours = foursOf(weight.inSize);
  const split = plan.kind === 'tiles' ? DEEP * Math.ceil(fours / DEEP) : fours;
  const lowFours = term ? foursOf(term.a.outSize) : 0;
  const nothing = constant(new Int32Array(4)); // something must be bound where nothing is read
  const flags =
    (bias ? Flag.bias : 0) | (relu ? Flag.relu : 0) | (gate ? Flag.gate : 0) | (residual ? Flag.residual : 0);
  const variant: Variant = {
    plan,
    weight: layout,
    lora: loraB ? loraB.layout : layout,
    fours: fourByFour,
  };
  const uniforms = {
    rows,
    inSize: weight.inSize,
    fours,
    split,
    depth: lowFours > 0 ? split + lowFours : fours,
    outputs,
    first: 0,
    part: 0,
    padding: 0,
    begin: only.begin,
    end: only.end,
    lowFours,
    lowColumns: term ? term.a.outSize : 0,
    scale,
    flags,
  };
  const halfX =
    way === 'half' || way === 'matrix' ? halfInput(variant, { x, low: low ?? nothing }, uniforms) : null;
  for (const [i, { first, count, tensor }] of parts.entries()) {
    const padding = i === parts.length - 1 ? outputs - weight.outSize : 0;
    const own = { ...uniforms, first, part: count, padding };
    const b = loraB ? loraB.parts[0].tensor : tensor;
    const inputs = {
      weight: tensor,
      loraB: b,
      bias: bias ?? nothing,
      gate: gate ?? nothing,
      residual: residual ?? nothing,
    };
    const workgroups = [Math.ceil((count + padding) / side[0]), Math.ceil(rows / side[1])] as const;
    const rest = { uniforms: own, workgroups, output: y };
    if (halfX) {
      const shader =
        way === 'matrix' && matrixPlan
          ? matrixTilesShader({ variant, plan: matrixPlan })
          : halfTilesShader(variant);
      const sizes = weightSizes(variant, { weight: tensor, loraB: b }, own);
      run({ shader, inputs: { ...inputs, x: halfX, sizes }, ...rest });
    } else {
      const shader = way === 'subgroups' ? subgroupRowsShader(variant) : linearShader(variant);
      run({ shader, inputs: { ...inputs, x, low: low ?? nothing }, ...rest });
    }
  }
  return y;
}

type Stored = {
  readonly layout: WeightLayout;
  readonly parts: readonly { readonly first: number; readonly count: number; readonly tensor: tf.Tensor }[];
};

/** A matrix of another store is multiplied as the tensor [in, out] that it lends. */
function stored(matrix: Matrix): Stored {
  if (!isRows(matrix)) {
    return { layout: 'float32Columns', parts: [{ first: 0, count: matrix.outSize, tensor: matrix.dense() }] };
  }
  return { layout: layoutOf(matrix), parts: matrix.parts };
}
