import type * as tf from '@tensorflow/tfjs-core';
import { emptyTensor, webgpuBackend } from '../webgpu/backend.ts';
import { isEmulated } from '../webgpu/emulation.ts';
import { constant, run } from '../webgpu/run.ts';
import { addLora, isPlain, type LinearInputs, type LoraTerm, leave } from './linear.ts';
import { blockOf, DEEP, Flag, linearShader, type Plan, SIDE, type WeightLayout } from './linear-shaders.ts';
import type { Matrix } from './matrix.ts';
import { foursOf, isRows } from './webgpu-store.ts';

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
};

/** scale · act(x A), padded to fours with zeros.   x: [T, in] → [T, 4·⌈R/4⌉] */
const lowOf = (x: tf.Tensor2D, { a, scale, activation }: LoraTerm): tf.Tensor2D =>
  product({ x, weight: a, scale, relu: activation === 'relu', outputs: 4 * foursOf(a.outSize) });

function product({ x, weight, term, bias, gate, residual, ...rest }: Product): tf.Tensor2D {
  const [rows] = x.shape;
  const { relu = false, scale = 1, outputs = weight.outSize } = rest;
  const low = term && lowOf(x, term);
  const loraB = term && stored(term.b);
  const { layout, parts } = stored(weight);
  const y = emptyTensor<tf.Tensor2D>(webgpuBackend(), [rows, outputs]);
  const fourByFour = x.shape[1] % 4 === 0;
  const plan = planOf(rows, outputs, fourByFour); // one for all parts: another would add up in another order
  const side = blockOf(plan);
  const fours = foursOf(weight.inSize);
  const split = plan.kind === 'tiles' ? DEEP * Math.ceil(fours / DEEP) : fours;
  const lowFours = term ? foursOf(term.a.outSize) : 0;
  const nothing = constant(new Int32Array(4)); // something must be bound where nothing is read
  const flags =
    (bias ? Flag.bias : 0) | (relu ? Flag.relu : 0) | (gate ? Flag.gate : 0) | (residual ? Flag.residual : 0);
  for (const [i, { first, count, tensor }] of parts.entries()) {
    const padding = i === parts.length - 1 ? outputs - weight.outSize : 0;
    run({
      shader: linearShader({
        plan,
        weight: layout,
        lora: loraB ? loraB.layout : layout,
        fours: fourByFour,
      }),
      inputs: {
        x,
        weight: tensor,
        low: low ?? nothing,
        loraB: loraB ? loraB.parts[0].tensor : tensor,
        bias: bias ?? nothing,
        gate: gate ?? nothing,
        residual: residual ?? nothing,
      },
      uniforms: {
        rows,
        inSize: weight.inSize,
        fours,
        split,
        depth: lowFours > 0 ? split + lowFours : fours,
        outputs,
        first,
        part: count,
        padding,
        lowFours,
        lowColumns: term ? term.a.outSize : 0,
        scale,
        flags,
      },
      workgroups: [Math.ceil((count + padding) / side[0]), Math.ceil(rows / side[1])],
      output: y,
    });
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
  return { layout: matrix.words === 'bfloat16' ? 'bfloat16Rows' : 'float32Rows', parts: matrix.parts };
}

const FEW_ROWS = 8;
const FEW_OUTPUTS = 64; // a LoRA's A: tiles would leave most of a GPU idle
const ROWS_TOGETHER = 4;
const LARGE_TILE = 8;
const SMALL_TILE = 4;
const ENOUGH_WORKGROUPS = 32;
const MOST_A_LANE = 32; // rows, of two columns: more sums than registers, and still the quickest
const FEW_A_LANE = 16;

/** How a product of so many rows and columns is shared out. `fours`: x is read in fours. */
export function planOf(rows: number, outputs: number, fours: boolean): Plan {
  if (rows <= FEW_ROWS || outputs <= FEW_OUTPUTS)
    return { kind: 'rows', rows: rows === 1 ? 1 : ROWS_TOGETHER };
  if (fours && isEmulated()) return { kind: 'columns', rows: rows > FEW_A_LANE ? MOST_A_LANE : FEW_A_LANE };
  const side = SIDE * LARGE_TILE;
  const large = Math.ceil(rows / side) * Math.ceil(outputs / side) >= ENOUGH_WORKGROUPS;
  return { kind: 'tiles', per: rows > side / 2 && large ? LARGE_TILE : SMALL_TILE };
}
