import * as tf from '@tensorflow/tfjs-core';
import type { EmbeddingTable } from '../kernels/index.ts';
import { checkStored } from '../weights/checksum.ts';
import { readAhead } from '../weights/read-ahead.ts';
import { readRows, type TensorEntry } from '../weights/safetensors.ts';
import { Held } from './held.ts';
import type { Blocks } from './layers/blocks.ts';
import type { TableSpec } from './layers/spec.ts';
import type { MakeLeaf } from './load.ts';
import { fillTree } from './params.ts';

/** Blocks that stay on disk: each is read while its predecessor computes, and freed after its own turn. */
export function streamedBlocks(
  specs: readonly unknown[],
  groups: readonly (readonly TensorEntry[])[],
  maker: (own: Held) => MakeLeaf,
): Blocks<unknown> & { dispose(): void } {
  const reader = readAhead(groups);
  let current: { readonly i: number; readonly held: Held } | null = null;
  const release = () => {
    current?.held.dispose();
    current = null;
  };
  return {
    length: specs.length,
    resident: false,
    async take(i, signal) {
      release();
      const bytes = await reader.take(i, signal);
      const held = new Held();
      current = { i, held };
      const make = maker(held);
      return fillTree(specs[i], {
        leaf: (leaf) => make(leaf, bytes),
        blocks: () => {
          throw new Error('a block holds no blocks');
        },
      });
    },
    release,
    dispose: release,
  };
}

/**
 * A table that stays on disk: a call reads the rows it needs. Where it has a checksum, it is read through once now, because
 * its rows have none.
 */
export async function fileTable(
  s: TableSpec,
  entry: TensorEntry,
  signal?: AbortSignal,
): Promise<EmbeddingTable> {
  await checkStored(entry, signal);
  const [rows, width] = s.shape;
  const matrix = { ...entry, shape: [rows, width] };
  return {
    rows,
    width,
    storage: 'file',
    bytes: 0,
    async gather(ids, signal) {
      const values = new Float32Array(ids.length * width);
      const read = new Map<number, number>(); // a word that comes again is not read again
      for (const [t, id] of ids.entries()) {
        const known = read.get(id);
        if (known !== undefined) values.copyWithin(t * width, known * width, (known + 1) * width);
        else values.set(await readRows(matrix, id, id + 1, { signal }), t * width);
        read.set(id, t);
      }
      return tf.tensor2d(values, [ids.length, width]);
    },
    dispose: () => {},
  };
}
