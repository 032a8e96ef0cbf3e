import * as tf from '@tensorflow/tfjs-core';
import { type EmbeddingTable, float32Matrix, hostTable } from '../kernels/index.ts';
import type { Checkpoint } from '../weights/checkpoint.ts';
import { bytesPerElement, widenInto } from '../weights/dtypes.ts';
import { checkFit } from '../weights/fit.ts';
import { readFloat32, readRows, readTensor, type TensorEntry } from '../weights/safetensors.ts';
import { residentBlocks } from './layers/blocks.ts';
import type { Linear } from './layers/linear.ts';
import type { LeafSpec, LinearSpec, TableSpec } from './layers/spec.ts';
import {
  checkpointTensors,
  elements,
  isLeafSpec,
  type ModelParams,
  type ModelSpec,
  tensorsOf,
} from './params.ts';

/** Called as loading goes on, with bytes of the checkpoint. */
export type LoadProgress = (done: number, total: number) => void;

export type LoadParamsOptions = {
  readonly signal?: AbortSignal;
  readonly onProgress?: LoadProgress;
  /** Refuse NaN and infinities in the weights (reads a little slower). */
  readonly checkFinite?: boolean;
};

/** Parameters in memory, and how to let go of them. */
export type LoadedParams = { readonly params: ModelParams; dispose(): void };

/**
 * Checkpoint + spec → parameters. Every misfit is told at once, before a byte of data is read; on any failure what was
 * already loaded is freed.
 */
export async function loadParams(
  spec: ModelSpec,
  checkpoint: Checkpoint,
  options: LoadParamsOptions = {},
): Promise<LoadedParams> {
  const expected = checkpointTensors(spec);
  checkFit(expected, checkpoint.entries);
  const entryOf = (name: string) => checkpoint.entries.get(name) as TensorEntry;
  const total = expected.reduce((sum, t) => sum + entryOf(t.name).byteLength, 0);
  const held: { dispose(): void }[] = [];
  const keep = <T extends { dispose(): void }>(value: T): T => {
    held.push(value);
    return value;
  };
  const dispose = () => {
    for (const value of held.splice(0)) value.dispose();
  };
  let done = 0;

  const leaf = async (s: LeafSpec): Promise<unknown> => {
    options.signal?.throwIfAborted();
    const value = await readLeaf(s, entryOf, keep, options);
    done += tensorsOf(s).reduce((sum, t) => sum + entryOf(t.name).byteLength, 0);
    options.onProgress?.(done, total);
    return value;
  };
  const fill = async (node: unknown): Promise<unknown> => {
    if (isLeafSpec(node)) return leaf(node);
    if (Array.isArray(node)) {
      const blocks: unknown[] = [];
      for (const block of node) blocks.push(await fill(block));
      return residentBlocks(blocks);
    }
    const filled: Record<string, unknown> = {};
    for (const [key, child] of Object.entries(node as object)) filled[key] = await fill(child);
    return filled;
  };

  try {
    return { params: (await fill(spec)) as ModelParams, dispose };
  } catch (error) {
    dispose();
    throw error;
  }
}

type Keep = <T extends { dispose(): void }>(value: T) => T;
type EntryOf = (name: string) => TensorEntry;

async function readLeaf(
  s: LeafSpec,
  entryOf: EntryOf,
  keep: Keep,
  options: LoadParamsOptions,
): Promise<unknown> {
  if (s.leaf === 'table') return keep(await readTable(s, entryOf(s.name), options));
  if (s.leaf === 'linear') return readLinear(s, entryOf, keep, options);
  return keep(tf.tensor(await readFloat32(entryOf(s.name), options), s.shape as number[]));
}

async function readLinear(
  s: LinearSpec,
  entryOf: EntryOf,
  keep: Keep,
  options: LoadParamsOptions,
): Promise<Linear> {
  const values = await readTransposed(entryOf(`${s.name}.weight`), s.outSize, s.inSize, options);
  const weight = keep(float32Matrix(tf.tensor2d(values, [s.inSize, s.outSize])));
  const bias = s.bias ? keep(tf.tensor1d(await readFloat32(entryOf(`${s.name}.bias`), options))) : null;
  return { name: s.name, weight, bias, lora: [] };
}

/** The table in its own dtype in host memory: rows are widened as they are looked up. */
async function readTable(
  s: TableSpec,
  entry: TensorEntry,
  options: LoadParamsOptions,
): Promise<EmbeddingTable> {
  const [rows, width] = s.shape;
  const bytes = await readTensor(entry, options);
  const rowBytes = width * bytesPerElement(entry.dtype);
  return hostTable(rows, width, bytes.byteLength, (id, target) =>
    widenInto(bytes.subarray(id * rowBytes, (id + 1) * rowBytes), entry.dtype, target),
  );
}

const TILE = 64; // rows and columns that are turned together, so that both sides stay in the cache
const ROWS_AT_ONCE = 512;

/** A checkpoint matrix [out, in] as float32 [in, out], read and turned some rows at a time. */
async function readTransposed(
  entry: TensorEntry,
  rows: number,
  columns: number,
  options: LoadParamsOptions,
): Promise<Float32Array> {
  const result = new Float32Array(elements([rows, columns]));
  const matrix: TensorEntry = { ...entry, shape: [rows, columns] }; // a convolution kernel is read as a matrix
  for (let first = 0; first < rows; first += ROWS_AT_ONCE) {
    const count = Math.min(ROWS_AT_ONCE, rows - first);
    const some = await readRows(matrix, first, first + count, options);
    for (let top = 0; top < count; top += TILE) {
      const bottom = Math.min(top + TILE, count);
      for (let left = 0; left < columns; left += TILE) {
        const right = Math.min(left + TILE, columns);
        for (let r = top; r < bottom; r++) {
          for (let c = left; c < right; c++) result[c * rows + first + r] = some[r * columns + c];
        }
      }
    }
  }
  return result;
}
