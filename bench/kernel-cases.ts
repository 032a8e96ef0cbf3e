import * as tf from '@tensorflow/tfjs-core';
import * as ops from '../kernels/index.ts';
import { transposeWords } from '../kernels/linear/transpose-words.ts';
import { widenInto } from '../weights/dtypes.ts';
import { narrowToBf16, narrowToF16 } from '../weights/narrow.ts';
import { decodeRows, encodeRows } from '../weights/quantization.ts';
import { valueStream } from './make-checkpoint/random-values.ts';

/** An op at a shape of the model: how to run it, and one value of its result worked out by hand in float64. */
export type KernelCase = {
  readonly name: string;
  readonly run: () => tf.Tensor2D;
  /** What all values must equal, where the op has no composed form that `run` could be run in. */
  readonly truth?: () => tf.Tensor2D;
  readonly byHand: (row: number, column: number) => number;
  /** Multiplications and additions, where that is what the time goes into. */
  readonly flops?: number;
  /** The same work done otherwise, where the composed truth is no yardstick, and what it is. */
  readonly beside?: { readonly what: string; readonly run: () => tf.Tensor };
};

export const HEAD = 128;
export const HEADS = 16;
export const KEY_HEADS = 2;

/** Seeded values: the same on every machine. */
export function values(name: string, count: number, std = 1): Float32Array {
  const words = new Uint32Array(count);
  valueStream(1, name, { mean: 0, std }, 'F32')(words);
  return new Float32Array(words.buffer);
}

export const matrix = (name: string, rows: number, columns: number, std = 1) => {
  const data = values(name, rows * columns, std);
  return { tensor: tf.tensor2d(data, [rows, columns]), at: (r: number, c: number) => data[r * columns + c] };
};

/** The same values [rows, columns] as this backend keeps a checkpoint's matrix, which lies there as [columns, rows]. */
function stored(name: string, rows: number, columns: number, std: number): ops.Matrix {
  const data = values(name, rows * columns, std);
  const turned = transposeWords(data, rows, columns, new Float32Array(data.length));
  const bytes = new Uint8Array(turned.buffer);
  return ops.matrixStore().float32({ bytes, dtype: 'F32', outSize: columns, inSize: rows });
}

export const sum = (count: number, f: (i: number) => number): number => {
  let total = 0;
  for (let i = 0; i < count; i++) total += f(i);
  return total;
};

/** T rows through a map of the decoder, with a LoRA of rank 32 on. */
export function linearCase(T: number, inSize: number, outSize: number): KernelCase {
  const R = 32;
  const x = matrix('x', T, inSize);
  const w = matrix('w', inSize, outSize, 1 / Math.sqrt(inSize));
  const a = matrix('a', inSize, R, 1 / Math.sqrt(inSize));
  const b = matrix('b', R, outSize, 0.1);
  const weight = stored('w', inSize, outSize, 1 / Math.sqrt(inSize));
  const term = {
    a: stored('a', inSize, R, 1 / Math.sqrt(inSize)),
    b: stored('b', R, outSize, 0.1),
    scale: 0.5,
    activation: 'none',
  } as const;
  return {
    name: `linear ${T}×${inSize}×${outSize}, LoRA 32`,
    run: () => ops.linear({ x: x.tensor, weight, bias: null, lora: [term] }),
    beside: { what: 'bare matMul', run: () => tf.matMul(x.tensor, w.tensor) },
    flops: 2 * T * (inSize * outSize + R * (inSize + outSize)),
    byHand: (t, o) =>
      sum(inSize, (i) => x.at(t, i) * w.at(i, o)) +
      0.5 * sum(R, (r) => sum(inSize, (i) => x.at(t, i) * a.at(i, r)) * b.at(r, o)),
  };
}

/** T rows through a map whose weights are kept as a checkpoint of this precision has them, beside bfloat16 ones. */
export function packedCase(
  T: number,
  inSize: number,
  outSize: number,
  precision: 'float16' | 'int8' | 'int4',
): KernelCase {
  const x = matrix('x', T, inSize);
  const rows = values('w', outSize * inSize, 1 / Math.sqrt(inSize)); // [out, in]
  const size = { outSize, inSize };
  const float = (words: Uint16Array, dtype: 'BF16' | 'F16') =>
    ops.matrixStore().packed({ bytes: new Uint8Array(words.buffer), dtype, ...size });
  const bfloat16 = float(narrowToBf16(rows), 'BF16');
  const weight =
    precision === 'float16'
      ? float(narrowToF16(rows), 'F16')
      : ops.matrixStore().packed({ format: precision, rows: encodeRows(precision, rows, inSize), ...size });
  if (precision === 'float16') widenInto(new Uint8Array(narrowToF16(rows).buffer), 'F16', rows);
  else decodeRows(precision, encodeRows(precision, rows, inSize), inSize, rows);
  const product = (weight: ops.Matrix) => () => ops.linear({ x: x.tensor, weight, bias: null, lora: [] });
  return {
    name: `${precision} linear ${T}×${inSize}×${outSize}`,
    run: product(weight),
    beside: { what: 'bfloat16', run: product(bfloat16) },
    flops: 2 * T * inSize * outSize,
    byHand: (t, o) => sum(inSize, (i) => x.at(t, i) * rows[o * inSize + i]),
  };
}

/** Grouped-query attention of the published heads. */
export function attentionCase(lengths: readonly number[], causal: boolean): KernelCase {
  const cuSeqlens = ops.cumulate(lengths);
  const T = cuSeqlens[lengths.length];
  const q = matrix('q', T, HEADS * HEAD);
  const k = matrix('k', T, KEY_HEADS * HEAD);
  const v = matrix('v', T, KEY_HEADS * HEAD);
  const attrs = { heads: HEADS, kvHeads: KEY_HEADS, cuSeqlens, causal };
  const pairs = sum(lengths.length, (s) => lengths[s] ** 2) / (causal ? 2 : 1);
  return {
    name: `attention ${lengths.length}×${lengths[0]}${causal ? ' causal' : ''}, heads ${HEADS}:${KEY_HEADS}×${HEAD}`,
    run: () => ops.attention({ q: q.tensor, k: k.tensor, v: v.tensor }, attrs),
    flops: 4 * pairs * HEADS * HEAD,
    byHand(t, c) {
      const head = Math.floor(c / HEAD);
      const key = Math.floor(head / (HEADS / KEY_HEADS));
      const segment = cuSeqlens.findIndex((end) => t < end);
      const begin = cuSeqlens[segment - 1];
      const seen = (causal ? t + 1 : cuSeqlens[segment]) - begin;
      const score = (s: number) =>
        sum(HEAD, (i) => q.at(t, head * HEAD + i) * k.at(begin + s, key * HEAD + i)) / Math.sqrt(HEAD);
      const weights = Array.from({ length: seen }, (_, s) => Math.exp(score(s)));
      const total = weights.reduce((x, y) => x + y);
      return sum(seen, (s) => (weights[s] / total) * v.at(begin + s, key * HEAD + (c % HEAD)));
    },
  };
}

export function rmsNormCase(T: number, D: number): KernelCase {
  const x = matrix('x', T, D);
  const weight = values('norm', D);
  const tensor = tf.tensor1d(weight);
  return {
    name: `rmsNorm ${T}×${D}`,
    run: () => ops.rmsNorm(x.tensor, tensor, 1e-6),
    byHand: (t, d) => (x.at(t, d) * weight[d]) / Math.sqrt(sum(D, (i) => x.at(t, i) ** 2) / D + 1e-6),
  };
}

export function swigluCase(T: number, F: number): KernelCase {
  const gate = matrix('gate', T, F);
  const up = matrix('up', T, F);
  return {
    name: `swiglu ${T}×${F}`,
    run: () => ops.swiglu(gate.tensor, up.tensor),
    byHand: (t, f) => (gate.at(t, f) / (1 + Math.exp(-gate.at(t, f)))) * up.at(t, f),
  };
}

export function geluCase(T: number, F: number): KernelCase {
  const x = matrix('x', T, F);
  return {
    name: `gelu ${T}×${F}`,
    run: () => ops.gelu(x.tensor),
    byHand: (t, f) => x.at(t, f) * normalDistribution(x.at(t, f)),
  };
}

/** Φ(x) by its power series: exact where values lie. */
function normalDistribution(x: number): number {
  let term = x;
  let series = x;
  for (let n = 1; n < 100; n++) {
    term *= (x * x) / (2 * n + 1);
    series += term;
  }
  return 0.5 + series * (Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI));
}

/** The angle of column i of a head at position t. */
export const angle = (t: number, i: number): number => t / 1e6 ** ((2 * (i % (HEAD / 2))) / HEAD);

/** Cosines and sines of T positions.   [T, HEAD] each */
export function rotaryTables(T: number): readonly [tf.Tensor2D, tf.Tensor2D] {
  const table = (f: (a: number) => number) =>
    tf.tensor2d(
      Float32Array.from({ length: T * HEAD }, (_, i) => f(angle(Math.floor(i / HEAD), i % HEAD))),
      [T, HEAD],
    );
  return [table(Math.cos), table(Math.sin)];
}

export function ropeCase(T: number): KernelCase {
  const x = matrix('x', T, HEADS * HEAD);
  const [cos, sin] = rotaryTables(T);
  return {
    name: `rope ${T}×${HEADS}×${HEAD}`,
    run: () => ops.rope(x.tensor, cos, sin, HEADS),
    byHand(t, c) {
      const i = c % HEAD;
      const partner = i < HEAD / 2 ? -x.at(t, c + HEAD / 2) : x.at(t, c - HEAD / 2);
      return x.at(t, c) * Math.cos(angle(t, i)) + partner * Math.sin(angle(t, i));
    },
  };
}

export function poolCase(T: number, D: number, count: number): KernelCase {
  const x = matrix('x', T * count, D);
  const spans = Array.from({ length: count }, (_, s) => ({ begin: s * T, end: (s + 1) * T }));
  return {
    name: `meanPool ${count}×${T}×${D}`,
    run: () => ops.meanPool(x.tensor, spans),
    byHand: (s, d) => sum(T, (t) => x.at(s * T + t, d)) / T,
  };
}

export function l2Case(T: number, D: number): KernelCase {
  const x = matrix('x', T, D);
  return {
    name: `l2Normalize ${T}×${D}`,
    run: () => ops.l2Normalize(x.tensor),
    byHand: (t, d) => x.at(t, d) / Math.sqrt(sum(D, (i) => x.at(t, i) ** 2)),
  };
}
