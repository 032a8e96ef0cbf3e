import * as tf from '@tensorflow/tfjs-core';
import { InputError } from '../../src/errors.ts';
import { dims } from '../dims.ts';
import { composedLinear, type LinearInputs, type LoraTerm } from '../linear/linear.ts';
import { defineKernel, runsFused } from '../registry.ts';
import { composedRmsNorm } from '../rms-norm/rms-norm.ts';
import { composedRope } from '../rope/rope.ts';
import { composedSwiglu } from '../swiglu/swiglu.ts';

// Maps that read the same rows: q, k and v, or gate and up. Where a dispatch costs, norm and low-rank downs are one of them
// and all maps another. Between them goes one tensor [T, D + ΣR]: a normed row, and behind it what each map's A makes of it.

/** An affine map without its input. */
export type AffineMap = Pick<LinearInputs, 'weight' | 'bias' | 'lora'>;

export type NormLowInputs = {
  readonly x: tf.Tensor2D;
  readonly weight: tf.Tensor1D;
  readonly maps: readonly AffineMap[];
};
export type NormLowAttrs = { readonly eps: number };

export type HeadsInputs = {
  /** As `normLow` gives them. */
  readonly rows: tf.Tensor2D;
  readonly maps: readonly AffineMap[];
  readonly cos: tf.Tensor2D;
  readonly sin: tf.Tensor2D;
};
/** So many heads from the first on are turned by their position; the others, the values, are not. */
export type HeadsAttrs = { readonly turned: number };

export type GatedInputs = { readonly rows: tf.Tensor2D; readonly gate: AffineMap; readonly up: AffineMap };

/** Columns that a map's low-rank term takes behind a normed row: its rank, filled up to fours. */
export const lowWidth = ({ lora: [term] }: AffineMap): number =>
  term ? 4 * Math.ceil(term.a.outSize / 4) : 0;

export const lowWidths = (maps: readonly AffineMap[]): number =>
  maps.reduce((sum, map) => sum + lowWidth(map), 0);

/** The normed rows and, for each map with a term, scale · act(norm(x) A). */
export function composedNormLow({ x, weight, maps }: NormLowInputs, { eps }: NormLowAttrs): tf.Tensor2D {
  const normed = composedRmsNorm({ x, weight }, { eps });
  const lows = maps.flatMap((map) =>
    map.lora.slice(0, 1).map((term) => paddedLow(normed, term, lowWidth(map))),
  );
  return lows.length === 0 ? normed : tf.concat([normed, ...lows], 1);
}

function paddedLow(x: tf.Tensor2D, { a, scale, activation }: LoraTerm, width: number): tf.Tensor2D {
  const low: tf.Tensor2D = tf.matMul(x, a.dense()); //                                        [T, R]
  const mid = tf.mul(activation === 'relu' ? tf.relu(low) : low, scale) as tf.Tensor2D;
  return tf.pad(mid, [
    [0, 0],
    [0, width - a.outSize],
  ]);
}

/** The definition goes back to the map's own A instead of what lies ready behind the row. */
const normedOf = (rows: tf.Tensor2D, { weight }: AffineMap): tf.Tensor2D =>
  rows.shape[1] === weight.inSize ? rows : tf.slice(rows, [0, 0], [rows.shape[0], weight.inSize]);

export function composedHeads({ rows, maps, cos, sin }: HeadsInputs, { turned }: HeadsAttrs): tf.Tensor2D {
  const x = normedOf(rows, maps[0]);
  const made = maps.map((map) => composedLinear({ ...map, x }));
  const all: tf.Tensor2D = made.length === 1 ? made[0] : tf.concat(made, 1);
  const [T, width] = all.shape;
  const split = turned * cos.shape[1];
  const turning: tf.Tensor2D = tf.slice(all, [0, 0], [T, split]);
  const still: tf.Tensor2D = tf.slice(all, [0, split], [T, width - split]);
  return tf.concat([composedRope({ x: turning, cos, sin }, { heads: turned }), still], 1);
}

export function composedGated({ rows, gate, up }: GatedInputs): tf.Tensor2D {
  const x = normedOf(rows, gate);
  return composedSwiglu({ gate: composedLinear({ ...gate, x }), up: composedLinear({ ...up, x }) });
}

const runNormLow = defineKernel<NormLowInputs, NormLowAttrs>('NormLow', composedNormLow);
const runHeads = defineKernel<HeadsInputs, HeadsAttrs>('Heads', composedHeads);
const runGated = defineKernel<GatedInputs, Record<string, never>>('Gated', composedGated);

/** Maps that read the same rows, and the shape of what they make together. */
export type Fan = { readonly maps: readonly AffineMap[]; readonly rows: number; readonly outputs: number };

/** Whether such maps are one dispatch here. Elsewhere each is better off by itself: nothing has to be joined or cut. */
export const fansOut = (fan: Fan): boolean => runsFused<Fan>('Fan', fan);

/** Columns of maps side by side. */
export const widthOf = (maps: readonly AffineMap[]): number =>
  maps.reduce((sum, { weight }) => sum + weight.outSize, 0);

/**
 * RMS norm, and the low-rank halves of the maps that will read it.   x: [T, D], weight: [D] → [T, D + Σ 4·⌈R/4⌉]
 * @throws InputError for a map that does not read D values, or has several terms
 */
export function normLow(inputs: NormLowInputs, attrs: NormLowAttrs): tf.Tensor2D {
  const { D } = dims(inputs.x, 'T D');
  dims(inputs.weight, 'D', { D });
  for (const map of inputs.maps) checkMap(map, D);
  return runNormLow(inputs, attrs) as tf.Tensor2D;
}

/**
 * Queries, keys and values side by side, queries and keys turned by their position (see `rope`).
 * rows: [T, D + Σ 4·⌈R/4⌉] from `normLow` with the same maps, cos, sin: [T, H] → [T, Σ out]
 * @throws InputError for rows or maps that do not fit each other
 */
export function heads(inputs: HeadsInputs, attrs: HeadsAttrs): tf.Tensor2D {
  const { rows, maps, cos, sin } = inputs;
  const T = checkRows(rows, maps);
  const { H } = dims(cos, 'T H', { T });
  dims(sin, 'T H', { T, H });
  const width = widthOf(maps);
  if (maps.some(({ weight }) => weight.outSize % H !== 0) || attrs.turned * H > width) {
    throw new InputError(
      `${attrs.turned} heads of ${H} cannot be turned in maps of ${maps.map(({ weight }) => weight.outSize).join(', ')} columns`,
    );
  }
  return runHeads(inputs, attrs) as tf.Tensor2D;
}

/**
 * silu(gate x) ⊙ up x.   rows: [T, D + Σ 4·⌈R/4⌉] from `normLow` with [gate, up] → [T, F]
 * @throws InputError for rows or maps that do not fit each other
 */
export function gated(inputs: GatedInputs): tf.Tensor2D {
  const { rows, gate, up } = inputs;
  checkRows(rows, [gate, up]);
  if (gate.weight.outSize !== up.weight.outSize)
    throw new InputError(`a gate of ${gate.weight.outSize} columns on ${up.weight.outSize}`);
  return runGated(inputs, {}) as tf.Tensor2D;
}

function checkMap({ weight, lora }: AffineMap, D: number): void {
  if (weight.inSize !== D) throw new InputError(`a map reads ${weight.inSize} values, a row has ${D}`);
  if (lora.length > 1)
    throw new InputError(
      `a map that shares its rows may have one low-rank term, got ${lora.length}; use linear`,
    );
  if (lora.some(({ rows }) => rows))
    throw new InputError('a map that shares its rows has a low-rank term for some of them; use linear');
}

function checkRows(rows: tf.Tensor2D, maps: readonly AffineMap[]): number {
  const D = maps[0].weight.inSize;
  for (const map of maps) checkMap(map, D);
  return dims(rows, 'T W', { W: D + lowWidths(maps) }).T;
}
