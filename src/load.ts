import * as tf from '@tensorflow/tfjs-core';
import {
  type EmbeddingTable,
  hostTable,
  type Matrix,
  matrixStore,
  type RawMatrix,
} from '../kernels/index.ts';
import type { Checkpoint } from '../weights/checkpoint.ts';
import { bytesPerElement, type Dtype, widenInto } from '../weights/dtypes.ts';
import { checkFit } from '../weights/fit.ts';
import { type LentBytes, readAhead } from '../weights/read-ahead.ts';
import { checkFinite, partsOf, readTensor, storedBytes, type TensorEntry } from '../weights/safetensors.ts';
import { watchGpu } from './device-call.ts';
import { Held } from './held.ts';
import { type Blocks, residentBlocks } from './layers/blocks.ts';
import type { Linear } from './layers/linear.ts';
import type { LeafSpec, LinearSpec, TableSpec } from './layers/spec.ts';
import { fileTable, streamedBlocks } from './load-streamed.ts';
import {
  checkpointTensors,
  fillTree,
  leavesOf,
  type ModelParams,
  type ModelSpec,
  tensorsOf,
} from './params.ts';

/**
 * Where weights live: widened in memory; in memory as the checkpoint has them, in 16 bits or quantised; or on disk until a
 * block's turn comes.
 */
export type WeightResidence = 'float32' | 'bfloat16' | 'streamed';

/** Called as loading goes on, with bytes of the checkpoint. */
export type LoadProgress = (done: number, total: number) => void;

export type LoadParamsOptions = {
  readonly residence?: WeightResidence;
  readonly signal?: AbortSignal;
  readonly onProgress?: LoadProgress;
  /** Refuse NaN and infinities in the weights (reads a little slower). */
  readonly checkFinite?: boolean;
};

/** Parameters in memory, and how to let go of them. */
export type LoadedParams = { readonly params: ModelParams; dispose(): void };

/** What a leaf of the spec becomes, given the bytes of its tensors. */
export type MakeLeaf = (leaf: LeafSpec, bytes: LentBytes) => unknown;

/**
 * Checkpoint + spec → parameters. Every misfit is told at once, before a byte of data is read; on any failure what was
 * already loaded is freed. With `streamed` the checkpoint must stay open as long as the parameters are used.
 * @throws DeviceError where the GPU refuses a weight, DeviceLostError where it goes away
 * The three residences multiply the same float32 matrices and give the same bits.
 */
export async function loadParams(
  spec: ModelSpec,
  checkpoint: Checkpoint,
  options: LoadParamsOptions = {},
): Promise<LoadedParams> {
  const { residence = 'float32', signal } = options;
  checkFit(checkpointTensors(spec), checkpoint.entries);
  const entriesOf = (node: unknown) =>
    checkpointTensors(node).map((t) => checkpoint.entries.get(t.name) as TensorEntry);
  const streamed = residence === 'streamed';

  // In order: the table, everything outside the blocks, then block after block, read one group ahead.
  const { embedTokens } = spec.model;
  const towers = [spec.visual.blocks, spec.model.layers];
  const rest = leavesOf(spec).filter(
    (l) => l !== embedTokens && !towers.some((blocks) => leavesOf(blocks).includes(l)),
  );
  const blocks = streamed ? [] : towers.flat();
  const nodes = [rest, ...blocks];
  const groups = nodes.map(entriesOf);
  const table = checkpoint.entries.get(embedTokens.name) as TensorEntry;
  const total = groups.flat().reduce((sum, e) => sum + storedBytes(e), streamed ? 0 : table.byteLength);

  const held = new Held();
  const make = leafMaker(residence, checkpoint.entries, held, options);
  const gpu = watchGpu('load');
  let done = 0;
  const progress = (bytes: number) => {
    done += bytes;
    options.onProgress?.(done, total);
  };

  try {
    const leaves = new Map<unknown, unknown>();
    leaves.set(
      embedTokens,
      held.keep(
        streamed ? await fileTable(embedTokens, table, signal) : await readTable(embedTokens, table, options),
      ),
    );
    if (!streamed) progress(table.byteLength);
    const reader = readAhead(groups, { once: true });
    for (const [i, node] of nodes.entries()) {
      signal?.throwIfAborted();
      const bytes = await reader.take(i, signal);
      for (const leaf of leavesOf(node))
        leaves.set(
          leaf,
          gpu.step(leaf.name, () => make(leaf, bytes)),
        );
      await gpu.check(); // before the next group is read
      progress(groups[i].reduce((sum, e) => sum + storedBytes(e), 0));
    }
    const params = fillTree(spec, {
      leaf: (leaf) => leaves.get(leaf),
      blocks: (specs, fill): Blocks<unknown> =>
        streamed
          ? held.keep(
              streamedBlocks(specs, specs.map(entriesOf), (own) =>
                leafMaker('bfloat16', checkpoint.entries, own, options),
              ),
            )
          : residentBlocks(specs.map(fill)),
    }) as ModelParams;
    await gpu.end();
    return { params, dispose: () => held.dispose() };
  } catch (error) {
    held.dispose();
    throw error;
  }
}

/** Makes leaves from lent bytes, in the storage that the residence asks for. */
function leafMaker(
  residence: WeightResidence,
  entries: ReadonlyMap<string, TensorEntry>,
  held: Held,
  options: LoadParamsOptions,
): MakeLeaf {
  return (leaf, bytes) => {
    const own = tensorsOf(leaf).map((t) => {
      const entry = entries.get(t.name) as TensorEntry;
      const raw = bytes.get(entry.name) as Uint8Array;
      if (options.checkFinite) {
        for (const part of partsOf(entry)) checkFinite(part, bytes.get(part.name) as Uint8Array);
      }
      return { shape: t.shape, dtype: entry.dtype, raw, entry };
    });
    const float = ({ raw, dtype, shape }: (typeof own)[number]): tf.Tensor => {
      const values = new Float32Array(raw.byteLength / bytesPerElement(dtype));
      widenInto(raw, dtype, values);
      return held.keep(tf.tensor(values, shape as number[]));
    };
    if (leaf.leaf !== 'linear') return float(own[0]);
    const [weight, bias] = own;
    const { outSize, inSize } = leaf;
    const { quantized } = weight.entry;
    const matrix: RawMatrix = quantized
      ? {
          format: quantized.format,
          rows: { codes: weight.raw, scales: bytes.get(quantized.scales.name) as Uint8Array },
          outSize,
          inSize,
        }
      : { bytes: weight.raw, dtype: weight.dtype, outSize, inSize };
    const store = matrixStore();
    return linearOf(
      leaf,
      held.keep(residence === 'float32' ? store.float32(matrix) : store.packed(matrix)),
      bias ? (float(bias) as tf.Tensor1D) : null,
    );
  };
}

const linearOf = (s: LinearSpec, weight: Matrix, bias: tf.Tensor1D | null): Linear => ({
  name: s.name,
  weight,
  bias,
  lora: [],
});

/** The table in its own dtype in host memory: rows are widened as they are looked up. */
async function readTable(
  s: TableSpec,
  entry: TensorEntry,
  options: LoadParamsOptions,
): Promise<EmbeddingTable> {
  const [rows, width] = s.shape;
  const bytes = await readTensor(entry, { signal: options.signal });
  if (options.checkFinite) checkFinite(entry, bytes);
  return tableOf(bytes, entry.dtype, rows, width);
}

/** A table over these bytes, which it keeps. */
export function tableOf(bytes: Uint8Array, dtype: Dtype, rows: number, width: number): EmbeddingTable {
  const rowBytes = width * bytesPerElement(dtype);
  return hostTable(rows, width, bytes.byteLength, (id, target) =>
    widenInto(bytes.subarray(id * rowBytes, (id + 1) * rowBytes), dtype, target),
  );
}
