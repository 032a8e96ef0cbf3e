import type { Checkpoint } from '../weights/checkpoint.ts';
import { bytesPerElement } from '../weights/dtypes.ts';
import { quantRowBytes } from '../weights/quantization.ts';
import type { TensorEntry } from '../weights/safetensors.ts';
import { activationBytes, type PlannedBatch } from './activation-plan.ts';
import { type AdapterSizes, adapterBytes } from './adapter-sizes.ts';
import { KEPT_BYTES } from './device-webgpu.ts';
import { DeviceError } from './errors.ts';
import type { LinearSpec } from './layers/spec.ts';
import type { ModelConfig } from './model-config.ts';
import { elements, leavesOf, type ModelSpec } from './params.ts';

/** How the linear maps are kept on the GPU: all of them, but for those that no quantisation touches. */
export type GpuPrecision = 'float32' | 'bfloat16' | 'int8' | 'int4';
export const GPU_PRECISIONS: readonly GpuPrecision[] = ['float32', 'bfloat16', 'int8', 'int4'];

/** Bytes that a model takes on a GPU. The token table stays in host memory: a call needs a few of its rows. */
export type GpuPlan = {
  readonly precision: GpuPrecision;
  readonly weights: number;
  readonly adapters: number;
  /** What a batch computes: tensors alive at its worst moment. */
  readonly work: number;
  /** Buffers of freed tensors that wait for a submit, or for another tensor of their size. */
  readonly pool: number;
  readonly total: number;
};

/** A checkpoint's weights on a GPU as they lie in its files. `precision`: what most of its matrices are, or were made for. */
export type StoredWeights = { readonly precision: GpuPrecision; readonly bytes: number };

export type GpuPlanInputs = {
  readonly config: ModelConfig;
  readonly spec: ModelSpec;
  readonly adapters: AdapterSizes;
  /** The checkpoint itself, where it is known. */
  readonly stored?: StoredWeights;
  readonly batches: readonly PlannedBatch[];
};

// Measured on models of a quarter of the published width, llvmpipe, in the second call of a shape, for each byte of tensors that
// the plan has alive: what waits for a submit or for its size to be asked for again (16 texts of 64 tokens: 43.5 MB lay there for
// 36.3; a picture of 840 × 672 with nothing kept: 115.5 for 49.8), and what one half of a picture's call leaves to the other
// (224 × 280: 17.6 MB where 12.8 lie with nothing kept, for 5.5), of which only so much is kept.
const WAITING = { texts: 0.23, images: 1.32 };
const LEFT_BY_TOWER = 0.86;

/** Bytes of a row of `inSize` weights. Shaders read fours of values, so rows are padded to them. */
export function gpuRowBytes(precision: GpuPrecision, inSize: number): number {
  const width = 4 * Math.ceil(inSize / 4);
  if (precision === 'float32') return 4 * width;
  if (precision === 'bfloat16') return 2 * width;
  const { codes, scales } = quantRowBytes(precision, inSize);
  return 4 * Math.ceil(codes / 4) + scales;
}

/**
 * Sizes of the buffers that hold rows of equal size: one binding of a GPU may be smaller than a large matrix or table, and a
 * row is never cut. @throws DeviceError for a row that is larger than a binding
 */
export function bindingParts(rows: number, rowBytes: number, bindingLimit: number): readonly number[] {
  const most = Math.floor(bindingLimit / rowBytes);
  if (most < 1) {
    throw new DeviceError(
      `a row of ${rowBytes} bytes is larger than a binding of this GPU (${bindingLimit}); use another backend`,
    );
  }
  const parts = new Array<number>(Math.floor(rows / most)).fill(most * rowBytes);
  return rows % most === 0 ? parts : [...parts, (rows % most) * rowBytes];
}

/** Every buffer of weights, in checkpoint order. Norms and biases are float32 in any precision. */
export const weightBuffers = (
  spec: ModelSpec,
  precision: GpuPrecision,
  bindingLimit: number,
): readonly number[] =>
  buffersOf(spec, bindingLimit, (leaf) => {
    // The projector makes the vectors and the patch embedding the tokens of images: no later layer mends their errors.
    const kept = leaf === spec.multiVectorProjector || leaf === spec.visual.patchEmbed;
    return kept && precision !== 'float32' ? 'bfloat16' : precision;
  });

const buffersOf = (
  spec: ModelSpec,
  bindingLimit: number,
  precisionOf: (leaf: LinearSpec) => GpuPrecision,
): readonly number[] =>
  leavesOf(spec).flatMap((leaf) => {
    if (leaf.leaf === 'table') return [];
    if (leaf.leaf !== 'linear') return [4 * elements(leaf.shape)];
    const parts = bindingParts(leaf.outSize, gpuRowBytes(precisionOf(leaf), leaf.inSize), bindingLimit);
    return leaf.bias ? [...parts, 4 * leaf.outSize] : parts;
  });

/** What a checkpoint's weights take where none is widened. A quantised one may mix formats (quantize-plan.ts). */
export function storedOnGpu(
  spec: ModelSpec,
  { entries, recipe }: Pick<Checkpoint, 'entries' | 'recipe'>,
): StoredWeights {
  const precisionOf = ({ name }: LinearSpec): GpuPrecision => {
    const { quantized, dtype } = entries.get(`${name}.weight`) as TensorEntry;
    return quantized?.format ?? (bytesPerElement(dtype) === 2 ? 'bfloat16' : 'float32');
  };
  const bytes = buffersOf(spec, Number.MAX_SAFE_INTEGER, precisionOf).reduce((sum, n) => sum + n, 0);
  if (recipe) return { precision: recipe.precision === 'float16' ? 'bfloat16' : recipe.precision, bytes };
  const wide = leavesOf(spec).some((l) => l.leaf === 'linear' && precisionOf(l) === 'float32');
  return { precision: wide ? 'float32' : 'bfloat16', bytes };
}

/** What lies beside an adapter that runs: B and biases of q, k and v once more, in one buffer (kernels/fan/stack.webgpu.ts). */
function stackBytes({ model, visual }: ModelSpec, rank: number, words: 'float32' | 'narrow'): number {
  const rowBytes = 4 * Math.ceil(rank / 4) * (words === 'float32' ? 4 : 2);
  const decoder = model.layers.flatMap(({ selfAttn: { qProj, kProj, vProj } }) => [qProj, kProj, vProj]);
  const tower = visual.blocks.map(({ attn }) => attn.qkv);
  return (
    decoder.reduce((sum, { outSize }) => sum + (rowBytes + 4) * outSize, 0) +
    tower.reduce((sum, { outSize }) => sum + 4 * outSize, 0)
  );
}

/** GPU memory of a model in every precision, largest first. */
export function planGpu(inputs: GpuPlanInputs): readonly GpuPlan[] {
  const { config, spec, stored, batches } = inputs;
  const form = { packed: false, rank: inputs.adapters.rank, fused: true };
  const needs = batches.map((batch) => {
    const work = activationBytes(config, spec, batch, form);
    const [waiting, left] = batch.images.length > 0 ? [WAITING.images, LEFT_BY_TOWER] : [WAITING.texts, 0];
    return { work, pool: waiting * work + Math.min(left * work, KEPT_BYTES) };
  });
  const { work, pool } = needs.reduce((a, b) => (a.work + a.pool >= b.work + b.pool ? a : b));
  return GPU_PRECISIONS.map((precision) => {
    const weights =
      precision === stored?.precision && precision !== 'float32'
        ? stored.bytes
        : weightBuffers(spec, precision, Number.MAX_SAFE_INTEGER).reduce((sum, n) => sum + n, 0);
    const words = precision === 'float32' ? 'float32' : 'narrow';
    const adapters = adapterBytes(inputs.adapters, words) + stackBytes(spec, inputs.adapters.rank, words);
    return { precision, weights, adapters, work, pool, total: weights + adapters + work + pool };
  });
}
