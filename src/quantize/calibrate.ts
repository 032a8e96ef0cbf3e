import type * as tf from '@tensorflow/tfjs-core';
import { type CuSeqlens, embed } from '../../kernels/index.ts';
import { type Adapter, withAdapters } from '../adapters/with-adapters.ts';
import { decoderBlock } from '../decoder/block.ts';
import { decoderRotary } from '../decoder/positions.ts';
import { gpuCall } from '../device-call.ts';
import type { EmbeddingModel } from '../embedding-model.ts';
import type { Blocks } from '../layers/blocks.ts';
import { disposeRotary, type Rotary, rotaryTables } from '../layers/rotary.ts';
import { mergeStream, packSequences, type Sequence } from '../model.ts';
import type { ModelParams } from '../params.ts';
import type { Prepared } from '../prepare.ts';
import { concatFloats } from '../run-batch.ts';
import { embedPatches, mergePatches, towerPlan, towerStep } from '../vision/tower.ts';
import { type RoundedMap, roundBlock, type Stream } from './round-block.ts';

export type CalibrateOptions = {
  /** Module paths of the linear maps that are wanted in int4. */
  readonly maps: ReadonlySet<string>;
  readonly signal?: AbortSignal;
  /** Blocks that are done, and in all. */
  readonly onProgress?: (done: number, total: number) => void;
};

type Batch = { readonly sequences: readonly Sequence[]; readonly adapters: readonly Adapter[] };
type Placed = Stream & { readonly batch: Batch; readonly rotary: Rotary };
type TowerStream = Placed & { readonly order: ReturnType<typeof towerPlan>['order'] };
type DecoderStream = Placed & { readonly cuSeqlens: CuSeqlens };

/**
 * Runs all inputs through the model block after block, and rounds the maps of each for what the rounded blocks before it give
 * (GPTQ). Blocks are taken once and in order, so they may be streamed. Memory: one block with its maps in float32, XᵀX of its
 * maps and three times the largest of these, and the stream of all inputs.
 * batches: inputs of one choice of adapters each, at least one
 */
export async function* calibrate(
  model: EmbeddingModel,
  batches: AsyncIterable<readonly Prepared[]>,
  options: CalibrateOptions,
): AsyncGenerator<RoundedMap> {
  const { params, config } = model;
  const { signal, onProgress } = options;
  const total = params.visual.blocks.length + 1 + params.model.layers.length;
  let done = 0;
  const round = async <B, S extends Stream>(
    block: B,
    streams: readonly S[],
    step: (block: B, s: S) => tf.Tensor2D,
  ) => {
    const maps = await gpuCall('quantize', () => roundBlock(block, streams, step, options));
    onProgress?.(++done, total);
    return maps;
  };
  const placed: Placed[] = [];
  try {
    // The tower.
    const all: Batch[] = [];
    const towers: TowerStream[] = [];
    for await (const prepared of batches) {
      signal?.throwIfAborted();
      const batch = batchOf(prepared);
      all.push(batch);
      const grids = batch.sequences.flatMap((s) => s.grids ?? []);
      if (grids.length === 0) continue;
      const { order, values } = towerPlan(grids, config.vision);
      const { visual } = withAdapters(params, ...batch.adapters);
      const pixels = prepared.flatMap((p) => p.image?.pixelValues ?? []);
      const x = embedPatches(visual, concatFloats(pixels), order, config.vision);
      towers.push({ x, batch, order, rotary: rotaryTables([values]) });
      placed.push(towers[towers.length - 1]);
    }
    const { visual } = params;
    for (let i = 0; i < visual.blocks.length; i++) {
      const block = await visual.blocks.take(i, signal);
      yield* await round(block, towers, (b, { x, batch, order, rotary }) => {
        const tower = { ...visual, blocks: only(b, visual.blocks) };
        const own = seenBy(batch, { ...params, visual: tower }).visual.blocks.take(i);
        return towerStep(order, config.vision)(own as typeof b, x, i, rotary);
      });
      visual.blocks.release(i);
    }
    yield* await round(visual.merger, towers, (merger, { x, batch, order }) =>
      mergePatches(seenBy(batch, { ...params, visual: { ...visual, merger } }).visual, x, order),
    );
    // The decoder.
    const seen = new Map(towers.map(({ batch, x }) => [batch, x]));
    const streams: DecoderStream[] = [];
    for (const batch of all) {
      const { ids, cuSeqlens, positions } = packSequences(batch.sequences, config);
      const text = await embed(seenBy(batch, params).model.embedTokens, ids, signal);
      const x = mergeStream(text, seen.get(batch) ?? null, ids, config.tokens.image);
      streams.push({ x, batch, cuSeqlens, rotary: decoderRotary(positions, config.decoder) });
      placed.push(streams[streams.length - 1]);
    }
    for (const { x, rotary } of towers) {
      x.dispose();
      disposeRotary(rotary);
    }
    const { layers } = params.model;
    for (let i = 0; i < layers.length; i++) {
      const block = await layers.take(i, signal);
      yield* await round(block, streams, (b, { x, batch, cuSeqlens, rotary }) => {
        const decoder = { ...params.model, layers: only(b, layers) };
        const own = seenBy(batch, { ...params, model: decoder }).model.layers.take(i);
        return decoderBlock(own as typeof b, x, rotary, config.decoder, cuSeqlens);
      });
      layers.release(i);
    }
  } finally {
    for (const { x, rotary } of placed) {
      x.dispose();
      disposeRotary(rotary);
    }
  }
}

const batchOf = (prepared: readonly Prepared[]): Batch => ({
  sequences: prepared.map((p) => ({ ids: p.ids, grids: p.image ? [p.image.grid] : [] })),
  adapters: prepared[0].request.choice,
});

const seenBy = ({ adapters }: Batch, params: ModelParams): ModelParams =>
  adapters.length === 0 ? params : withAdapters(params, ...adapters);

/** A tower whose blocks are all this one: it keeps its place in the tree, which adapters go by. */
const only = <B>(block: B, { length }: Blocks<B>): Blocks<B> => ({
  length,
  resident: true,
  take: () => block,
  release: () => {},
});
