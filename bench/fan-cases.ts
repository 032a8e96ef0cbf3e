import * as tf from '@tensorflow/tfjs-core';
import { rowTable } from '../kernels/embedding/embedding.webgpu.ts';
import * as ops from '../kernels/index.ts';
import { isRows } from '../kernels/linear/webgpu-store.ts';
import { tableOf } from '../src/load.ts';
import { widenInto } from '../weights/dtypes.ts';
import { narrowToBf16 } from '../weights/narrow.ts';
import {
  angle,
  HEAD,
  HEADS,
  KEY_HEADS,
  type KernelCase,
  matrix,
  rotaryTables,
  sum,
  values,
} from './kernel-cases.ts';

// What a block of the decoder mostly runs on WebGPU: maps of one input, with bfloat16 weights and a LoRA of rank 32 each.

const R = 32;
const EPS = 1e-6;
const VOCABULARY = 4096; // rows of a table that is small enough to make here; a call reads few of them

/** bfloat16 values [out, in] as this backend keeps a checkpoint's matrix; `at` is what they stand for. */
function packed(name: string, outSize: number, inSize: number, std = 1 / Math.sqrt(inSize)) {
  const rows = values(name, outSize * inSize, std);
  const bytes = new Uint8Array(narrowToBf16(rows).buffer);
  widenInto(bytes, 'BF16', rows);
  return {
    bytes,
    rows,
    stored: ops.matrixStore().packed({ bytes, dtype: 'BF16', outSize, inSize }),
    at: (o: number, i: number) => rows[o * inSize + i],
  };
}

/** A map with its term and bias; `byHand`: output `o` for a row of D values. */
function mapOf(name: string, inSize: number, outSize: number, scale = 0.5) {
  const [w, a, b] = [
    packed(`${name}.w`, outSize, inSize),
    packed(`${name}.a`, R, inSize),
    packed(`${name}.b`, outSize, R, 0.1),
  ];
  const bias = values(`${name}.bias`, outSize);
  const map: ops.AffineMap = {
    weight: w.stored,
    bias: tf.tensor1d(bias),
    lora: [{ a: a.stored, b: b.stored, scale, activation: 'none' }],
  };
  const low = (x: (i: number) => number, r: number) => scale * sum(inSize, (i) => x(i) * a.at(r, i));
  const byHand = (x: (i: number) => number, o: number) =>
    bias[o] + sum(inSize, (i) => x(i) * w.at(o, i)) + sum(R, (r) => low(x, r) * b.at(o, r));
  return { map, low, byHand };
}

const flopsOf = (T: number, D: number, outputs: number): number => 2 * T * outputs * (D + R);

/** What `normLow` starts from and gives, with the normed row worked out by hand. */
function normed(T: number, D: number, maps: readonly ops.AffineMap[]) {
  const x = matrix('x', T, D);
  const norm = values('norm', D);
  const inputs = { x: x.tensor, weight: tf.tensor1d(norm), maps };
  const rowAt = (t: number) => {
    const root = Math.sqrt(sum(D, (i) => x.at(t, i) ** 2) / D + EPS);
    const row = Float64Array.from(norm, (w, d) => (x.at(t, d) * w) / root);
    return (d: number) => row[d];
  };
  return { rowAt, run: () => ops.normLow(inputs, { eps: EPS }) };
}

const decoderMaps = (D: number) =>
  [HEADS, KEY_HEADS, KEY_HEADS].map((count, i) => mapOf(`map${i}`, D, count * HEAD));

/** The norm of a block and the low-rank halves of queries, keys and values. */
export function normLowCase(T: number, D: number): KernelCase {
  const maps = decoderMaps(D);
  const { rowAt, run } = normed(
    T,
    D,
    maps.map(({ map }) => map),
  );
  return {
    name: `normLow ${T}×${D}, 3 × LoRA ${R}`,
    run,
    byHand: (t, c) => (c < D ? rowAt(t)(c) : maps[Math.floor((c - D) / R)].low(rowAt(t), (c - D) % R)),
  };
}

/** Queries, keys and values of a block, turned by their positions. */
export function headsCase(T: number, D: number): KernelCase {
  const maps = decoderMaps(D);
  const [q, k, v] = maps.map(({ map }) => map);
  const given = normed(T, D, [q, k, v]);
  const rows = given.run();
  const x: tf.Tensor2D = tf.slice(rows, [0, 0], [T, D]);
  const [cos, sin] = rotaryTables(T);
  const turned = HEADS + KEY_HEADS;
  const valueAt = (row: (d: number) => number, c: number) => {
    const i = c < HEADS * HEAD ? 0 : c < turned * HEAD ? 1 : 2;
    return maps[i].byHand(row, c - [0, HEADS * HEAD, turned * HEAD][i]);
  };
  return {
    name: `heads ${T}×${D}×${(turned + KEY_HEADS) * HEAD}, LoRA ${R}`,
    run: () => ops.heads({ rows, maps: [q, k, v], cos, sin }, { turned }),
    beside: {
      what: 'linear and rope, map by map',
      run: () =>
        tf.tidy(() => {
          ops.rope(ops.linear({ ...q, x }), cos, sin, HEADS);
          ops.rope(ops.linear({ ...k, x }), cos, sin, KEY_HEADS);
          return ops.linear({ ...v, x });
        }),
    },
    flops: flopsOf(T, D, (turned + KEY_HEADS) * HEAD),
    byHand(t, c) {
      const row = given.rowAt(t);
      const i = c % HEAD;
      if (c >= turned * HEAD) return valueAt(row, c);
      const partner = i < HEAD / 2 ? -valueAt(row, c + HEAD / 2) : valueAt(row, c - HEAD / 2);
      return valueAt(row, c) * Math.cos(angle(t, i)) + partner * Math.sin(angle(t, i));
    },
  };
}

/** Gate and up of a block. */
export function gatedCase(T: number, D: number, F: number): KernelCase {
  const [gate, up] = [mapOf('gate', D, F), mapOf('up', D, F)];
  const given = normed(T, D, [gate.map, up.map]);
  const rows = given.run();
  const x: tf.Tensor2D = tf.slice(rows, [0, 0], [T, D]);
  return {
    name: `gated ${T}×${D}×${F}, LoRA ${R}`,
    run: () => ops.gated({ rows, gate: gate.map, up: up.map }),
    beside: {
      what: 'linear, map by map',
      run: () => tf.tidy(() => ops.linear({ ...up.map, x, gate: ops.linear({ ...gate.map, x }) })),
    },
    flops: flopsOf(T, D, 2 * F),
    byHand(t, f) {
      const open = gate.byHand(given.rowAt(t), f);
      return (open / (1 + Math.exp(-open))) * up.byHand(given.rowAt(t), f);
    },
  };
}

/** Rows of a bfloat16 table: one on the GPU where that has matrices of its own, else one in host memory. */
export function embeddingCase(T: number, D: number): KernelCase {
  const { stored, bytes, rows, at } = packed('table', VOCABULARY, D, 1);
  const host = tableOf(bytes, 'BF16', VOCABULARY, D);
  const tensor = ops.tensorTable(tf.tensor2d(rows, [VOCABULARY, D]));
  const ids = Int32Array.from({ length: T }, (_, t) => (t * 997) % VOCABULARY);
  const lookUp = (table: ops.EmbeddingTable) => () => table.gather(ids) as tf.Tensor2D; // only files make one wait
  const onGpu = isRows(stored);
  return {
    name: `embedding ${T}×${D}`,
    run: lookUp(onGpu ? rowTable(stored) : host),
    truth: lookUp(tensor),
    beside: onGpu
      ? { what: 'table in host memory', run: lookUp(host) }
      : { what: 'gather of a float32 tensor', run: lookUp(tensor) },
    byHand: (t, d) => at(ids[t], d),
  };
}
