import type { Checkpoint } from '../weights/checkpoint.ts';
import { bytesPerElement } from '../weights/dtypes.ts';
import { quantRowBytes } from '../weights/quantization.ts';
import type { TensorEntry } from '../weights/safetensors.ts';
import type { PlannedBatch } from './activation-plan.ts';
import { type AdapterSizes, adapterBytes } from './adapter-sizes.ts';
import { DeviceError } from './errors.ts';
import { gpuWork } from './gpu-work.ts';
import type { LinearSpec } from './layers/spec.ts';
import type { ModelConfig } from './model-config.ts';
import { elements, leavesOf, loraParameterCount, type ModelSpec } from './params.ts';
import { delicateMaps } from './quantize/delicate-maps.ts';

/** How the linear maps are kept on the GPU: all of them, but for those that no quantisation touches, or not down to int4. */
export type GpuPrecision = 'float32' | 'bfloat16' | 'int8' | 'int4';
export const GPU_PRECISIONS: readonly GpuPrecision[] = ['float32', 'bfloat16', 'int8', 'int4'];

/** Bytes that a model takes on a GPU. The token table stays in host memory: a call needs a few of its rows. */
export type GpuPlan = {
  readonly precision: GpuPrecision;
  readonly weights: number;
  readonly adapters: number;
  /** Of adapters that were in use: their B matrices for q, k and v, which attention reads side by side (kernels/fan/stack.webgpu.ts). */
  readonly copies: number;
  /** What a batch computes: tensors alive when most buffers are there. */
  readonly work: number;
  /** Buffers of freed tensors that wait then for another tensor of their size. */
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
): readonly number[] => {
  const delicate = delicateMaps(spec);
  return buffersOf(spec, bindingLimit, (leaf) => {
    // The projector makes the vectors and the patch embedding the tokens of images: no later layer mends their errors.
    const kept = leaf === spec.multiVectorProjector || leaf === spec.visual.patchEmbed;
    if (kept && precision !== 'float32') return 'bfloat16';
    return precision === 'int4' && delicate.has(leaf) ? 'int8' : precision;
  });
};

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

/** What a checkpoint's weights take where none is widened. A quantised one may mix formats (quantize/plan.ts). */
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

/** GPU memory of a model in every precision, largest first. */
export function planGpu(inputs: GpuPlanInputs): readonly GpuPlan[] {
  const { config, spec, stored, batches } = inputs;
  const needs = batches.map((batch) => gpuWork(config, spec, batch, inputs.adapters.rank));
  // Their biases, which are copied as well, are next to nothing.
  const ups = spec.model.layers.flatMap(({ selfAttn: p }) => [p.qProj, p.kProj, p.vProj]);
  const copied = ups.reduce((sum, { outSize }) => sum + outSize, 0) / loraParameterCount(spec, 1);
  const { alive: work, waiting: pool } = needs.reduce((a, b) =>
    a.alive + a.waiting >= b.alive + b.waiting ? a : b,
  );
  return GPU_PRECISIONS.map((precision) => {
    const weights =
      precision === stored?.precision && precision !== 'float32'
        ? stored.bytes
        : weightBuffers(spec, precision, Number.MAX_SAFE_INTEGER).reduce((sum, n) => sum + n, 0);
    const adapters = adapterBytes(inputs.adapters, precision === 'float32' ? 'float32' : 'narrow');
    const copies = adapters * copied;
    return {
      precision,
      weights,
      adapters,
      copies,
      work,
      pool,
      total: weights + adapters + copies + work + pool,
    };
  });
}
