import * as tf from '@tensorflow/tfjs-core';
import type { Span } from '../kernels/index.ts';
import type { Adapter } from './adapters/with-adapters.ts';
import { groupBy } from './batches.ts';
import type { Settings } from './config.ts';
import { KEPT_BYTES, trimBufferPool } from './device-webgpu.ts';
import type { EmbeddingModel } from './embedding-model.ts';
import { singleVectors } from './heads/heads.ts';
import type { EmbeddingDetails } from './options.ts';
import { quantize } from './output/quantize.ts';
import type { Embedding } from './output/similarity.ts';
import type { Prepared } from './prepare.ts';

export type RunBatchOptions = {
  readonly settings: Settings;
  readonly returnMultivector: boolean;
  /** Inputs with different adapters in one pass, where the adapters allow it. */
  readonly together: boolean;
  readonly signal?: AbortSignal;
};

export type Embedded = { readonly embedding: Embedding; readonly details: EmbeddingDetails };

/**
 * Whether one pass for several adapters costs less than a pass for each (bench/mixed.bench.ts). On WebGPU a map with several
 * terms runs by itself, so but for a few tokens it does not there, unless every pass reads all weights anew.
 */
export const sharesPasses = (device: { readonly backend: string; readonly residence: string }): boolean =>
  device.backend !== 'webgpu' || device.residence === 'streamed';

const SHARED = Symbol('shared');

/** What inputs must have in common to go through the decoder in one pass: an adapter, or adapters that can be for some rows. */
export const passOf =
  (model: EmbeddingModel, together: boolean) =>
  ({ request }: Prepared): symbol | string | null =>
    together && model.canShare(request.choice) ? SHARED : request.adapter;

/**
 * Inside a `gpuCall`. One run of the decoder for all adapters (`together`) or each, one of the tower for all of them that leave it
 * alone. → in the batch's order
 */
export async function runBatch(
  model: EmbeddingModel,
  batch: readonly Prepared[],
  options: RunBatchOptions,
): Promise<readonly Embedded[]> {
  const results = new Map<Prepared, Embedded>();
  const ownTower = ({ image, request }: Prepared) =>
    image && model.touchesVision(request.choice) ? request.adapter : null;
  const ordered = groupBy(batch, (p) => p.request.adapter).flat(); // an adapter's rows lie side by side
  for (const alike of groupBy(ordered, ownTower)) {
    const seen = await seeImages(model, alike, options.signal);
    try {
      for (const group of groupBy(alike, passOf(model, options.together))) {
        const own = seen && group.length < alike.length ? takeTokens(seen, alike, group) : seen;
        try {
          const embedded = await embedGroup(model, group, own, options);
          group.forEach((p, i) => {
            results.set(p, embedded[i]);
          });
        } finally {
          if (own !== seen) own?.dispose();
        }
      }
    } finally {
      seen?.dispose();
    }
  }
  return batch.map((p) => results.get(p) as Embedded);
}

/** Visual tokens of all images, [M, D], through the tower as the first one's adapters see it; null without images. */
async function seeImages(
  model: EmbeddingModel,
  batch: readonly Prepared[],
  signal?: AbortSignal,
): Promise<tf.Tensor2D | null> {
  const images = batch.flatMap((p) => p.image ?? []);
  const first = batch.find((p) => p.image);
  if (!first) return null;
  const pixels = {
    pixelValues: concatFloats(images.map((i) => i.pixelValues)),
    grids: images.map((i) => i.grid),
  };
  const { choice } = first.request;
  const adapter = model.touchesVision(choice) ? choice : [];
  const seen = await model.see(pixels, { adapter, guarded: true, signal });
  trimBufferPool(KEPT_BYTES); // the decoder has other sizes: the tower's buffers would lie beside its own
  return seen;
}

/** Inputs packed into one stream, those of an adapter side by side. */
async function embedGroup(
  model: EmbeddingModel,
  group: readonly Prepared[],
  seen: tf.Tensor2D | null,
  { settings, returnMultivector, signal }: RunBatchOptions,
): Promise<readonly Embedded[]> {
  const choices = choicesOf(group);
  const sequences = group.map((p) => ({ ids: p.ids, grids: p.image ? [p.image.grid] : [] }));
  const hidden = await model.forward(sequences, { seen, adapters: choices, guarded: true, signal });
  const size = settings.truncateDim ?? model.config.truncateDim ?? hidden.shape[1];
  let output: tf.Tensor2D;
  try {
    output = returnMultivector
      ? model.multiVectors(hidden, model.byInput(choices, sequences))
      : singleVectors(hidden, packedSpans(group), { size, normalize: settings.normalize });
  } finally {
    hidden.dispose();
  }
  const width = output.shape[1];
  let values: Float32Array;
  try {
    values = (await output.data()) as Float32Array;
  } finally {
    output.dispose();
  }
  let row = 0;
  return group.map((p) => {
    const rows = Array.from({ length: returnMultivector ? p.ids.length : 1 }, () =>
      quantize(values.slice(row * width, ++row * width), settings.precision),
    );
    return {
      embedding: returnMultivector ? rows.map((q) => q.values) : rows[0].values,
      details: {
        type: p.request.type,
        task: p.request.task,
        adapter: p.request.adapter,
        tokens: p.ids.length,
        truncated: p.truncated,
        scale: rows[0].scale,
        zero: rows[0].zero,
      },
    };
  });
}

/** The adapters of each input. Those of one name are the same objects, however they were asked for. */
function choicesOf(group: readonly Prepared[]): readonly (readonly Adapter[])[] {
  const named = new Map(group.map(({ request }) => [request.adapter, request.choice]));
  return group.map(({ request }) => named.get(request.adapter) as readonly Adapter[]);
}

/** Where each input's span lies in the packed stream. */
function packedSpans(group: readonly Prepared[]): readonly Span[] {
  let begin = 0;
  return group.map(({ ids, span }) => {
    const moved = { begin: begin + span.begin, end: begin + span.end };
    begin += ids.length;
    return moved;
  });
}

/** The visual tokens of some of the batch's images.   seen: [M, D] → [M', D] */
function takeTokens(seen: tf.Tensor2D, batch: readonly Prepared[], group: readonly Prepared[]): tf.Tensor2D {
  const chosen = new Set(group);
  let begin = 0;
  return tf.tidy(() => {
    const parts: tf.Tensor2D[] = [];
    for (const p of batch) {
      const tokens = p.image?.tokens ?? 0;
      if (chosen.has(p)) parts.push(tf.slice(seen, [begin, 0], [tokens, seen.shape[1]]));
      begin += tokens;
    }
    return tf.concat(parts, 0);
  });
}

/** The patches of several images, one after the other. */
export function concatFloats(parts: readonly Float32Array[]): Float32Array {
  if (parts.length === 1) return parts[0];
  const all = new Float32Array(parts.reduce((sum, p) => sum + p.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
