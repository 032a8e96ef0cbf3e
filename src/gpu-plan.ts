import { activationBytes, type PlannedBatch } from './activation-plan.ts';
import { DeviceError } from './errors.ts';
import type { ModelConfig } from './model-config.ts';
import { elements, leavesOf, loraParameterCount, type ModelSpec } from './params.ts';

/** How the linear maps are kept on the GPU. */
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

export type GpuPlanInputs = {
  readonly config: ModelConfig;
  readonly spec: ModelSpec;
  readonly adapterCount: number;
  readonly adapterRank: number;
  /** Bytes a value of the adapters. Default: 4 beside float32 weights, else the 2 of the checkpoint. */
  readonly adapterBytes?: 2 | 4;
  readonly batches: readonly PlannedBatch[];
};

// Measured on models of a quarter of the published width, llvmpipe, in the second call of a shape: the most that lies on the
// device beside weights, for each byte of tensors that the plan has alive. 16 texts of 64 tokens: 44.4 MB for 36.3; a picture of
// 560 × 448: 67.8 for 22.1, what the pool kept of the decoder in the call before included.
const HELD = { texts: 1.23, images: 3.1 };

// One scale a row of int8, one for 32 neighbours of int4: the published kinds of symmetric quantisation.
const GROUP = 32;

/** Bytes of a row of `inSize` weights. Shaders read fours of values, so rows are padded to them. */
export function gpuRowBytes(precision: GpuPrecision, inSize: number): number {
  const width = 4 * Math.ceil(inSize / 4);
  switch (precision) {
    case 'float32':
      return 4 * width;
    case 'bfloat16':
      return 2 * width;
    case 'int8':
      return width + 4;
    case 'int4':
      return Math.ceil(inSize / GROUP) * (GROUP / 2 + 2);
  }
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
  leavesOf(spec).flatMap((leaf) => {
    if (leaf.leaf === 'table') return [];
    if (leaf.leaf !== 'linear') return [4 * elements(leaf.shape)];
    // The projector makes the vectors and the patch embedding the tokens of images: no later layer mends their errors.
    const kept = leaf === spec.multiVectorProjector || leaf === spec.visual.patchEmbed;
    const own = kept && precision !== 'float32' ? 'bfloat16' : precision;
    const parts = bindingParts(leaf.outSize, gpuRowBytes(own, leaf.inSize), bindingLimit);
    return leaf.bias ? [...parts, 4 * leaf.outSize] : parts;
  });

/** GPU memory of a model in every precision, largest first. */
export function planGpu(inputs: GpuPlanInputs): readonly GpuPlan[] {
  const { config, spec, adapterCount, adapterRank, batches } = inputs;
  const form = { packed: false, rank: adapterCount > 0 ? adapterRank : 0, fused: true };
  const needs = batches.map((batch) => {
    const work = activationBytes(config, spec, batch, form);
    return { work, pool: work * ((batch.images.length > 0 ? HELD.images : HELD.texts) - 1) };
  });
  const { work, pool } = needs.reduce((a, b) => (a.work + a.pool >= b.work + b.pool ? a : b));
  const lora = adapterCount * loraParameterCount(spec, adapterRank);
  return GPU_PRECISIONS.map((precision) => {
    const weights = weightBuffers(spec, precision, Number.MAX_SAFE_INTEGER).reduce((sum, n) => sum + n, 0);
    const adapters = lora * (inputs.adapterBytes ?? (precision === 'float32' ? 4 : 2));
    return { precision, weights, adapters, work, pool, total: weights + adapters + work + pool };
  });
}
