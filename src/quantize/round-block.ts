import * as tf from '@tensorflow/tfjs-core';
import { type Matrix, matrixStore } from '../../kernels/index.ts';
import type { PackedRows } from '../../weights/quantization.ts';
import { residentLinears } from '../adapters/each-linear.ts';
import { Held } from '../held.ts';
import { mapLinears } from '../params.ts';
import { Grams } from './grams.ts';
import { roundMap } from './round-map.ts';

/** A linear map in int4, by its module path. */
export type RoundedMap = { readonly name: string; readonly rows: PackedRows };

/** Inputs on their way through a model, packed as in a pass. `x` becomes what left the latest block.   [T, D] */
export type Stream = { x: tf.Tensor2D };

/**
 * Rounds the chosen maps of a block for what they read in these streams, and takes the streams through the rounded block, so
 * that later blocks can make good its errors. Maps that read nothing are left out.
 */
export async function roundBlock<B, S extends Stream>(
  block: B,
  streams: readonly S[],
  step: (block: B, stream: S) => tf.Tensor2D,
  { maps, signal }: { readonly maps: ReadonlySet<string>; readonly signal?: AbortSignal },
): Promise<readonly RoundedMap[]> {
  const chosen = residentLinears(block).filter(({ name }) => maps.has(name));
  const weights = new Set(chosen.map(({ weight }) => weight));
  const grams = new Grams();
  const held = new Held();
  try {
    if (weights.size > 0)
      for (const stream of streams) grams.watch(weights, () => step(block, stream)).dispose();
    const rounded: RoundedMap[] = [];
    const after = new Map<string, Matrix>();
    for (const { name, weight } of chosen) {
      const gram = grams.of(weight);
      if (!gram) continue;
      const dense = tf.tidy(() => tf.clone(weight.dense()));
      const rows = await roundMap(dense, gram, signal).finally(() => dense.dispose());
      const { inSize, outSize } = weight;
      rounded.push({ name, rows });
      after.set(name, held.keep(matrixStore().float32({ format: 'int4', rows, inSize, outSize })));
    }
    const better = mapLinears(block, (l) => ({ ...l, weight: after.get(l.name) ?? l.weight }));
    for (const stream of streams) {
      signal?.throwIfAborted();
      const next = step(better, stream);
      stream.x.dispose();
      stream.x = next;
    }
    return rounded;
  } finally {
    grams.dispose();
    held.dispose();
  }
}
