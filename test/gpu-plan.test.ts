import { beforeAll, describe, expect, test } from 'vitest';
import type { PlannedBatch } from '../src/activation-plan.ts';
import { loraSizes, NO_ADAPTERS } from '../src/adapter-sizes.ts';
import { gpuDevice, gpuIdle, takeGpuErrors } from '../src/device-webgpu.ts';
import { DeviceError } from '../src/errors.ts';
import {
  bindingParts,
  GPU_PRECISIONS,
  type GpuPrecision,
  gpuRowBytes,
  planGpu,
  storedOnGpu,
  weightBuffers,
} from '../src/gpu-plan.ts';
import { gpuHasRoom, type RoomQuestion, residenceWithRoom } from '../src/gpu-room.ts';
import { gpuWork } from '../src/gpu-work.ts';
import { PLANNED_BATCHES } from '../src/memory-plan.ts';
import { parseModelConfig } from '../src/model-config.ts';
import { modelSpec } from '../src/params.ts';
import { openFolder } from '../src/platform/node-files.ts';
import { openCheckpoint } from '../weights/checkpoint.ts';
import { memoryTree } from '../weights/memory-source.ts';
import { readJson } from '../weights/read-text.ts';
import { BACKENDS, startBackend } from './support/backends.ts';
import { GEOMETRIES, geometryConfig } from './support/geometries.ts';
import { GOLDEN } from './support/golden.ts';
import { quantized } from './support/quantized.ts';

const goldenConfig = async () =>
  parseModelConfig(await readJson(await openFolder(GOLDEN), 'config.json', {}));
const config = geometryConfig(GEOMETRIES.published);
const spec = modelSpec(config);
const plan = (count: number, floats = false) => {
  const { rank, halves } = loraSizes(spec, count, 32);
  const plans = planGpu({
    config,
    spec,
    adapters: floats ? { rank, halves: 0, floats: halves, tables: 0 } : loraSizes(spec, count, 32),
    batches: PLANNED_BATCHES,
  });
  const of = (precision: GpuPrecision) => plans.find((p) => p.precision === precision)!;
  /** GB. */
  return (precision: GpuPrecision) => of(precision).total / 1e9;
};

describe('GPU memory of the published model, with all that a page takes', () => {
  const LIMITS = { bfloat16: 7.9, int8: 4.3, int4: 2.6 } as const;

  test.each([
    ['three adapters as they are loaded, in 16 bits', plan(3)],
    ['one adapter in float32', plan(1, true)],
  ])('with %s it stays below 7.9, 4.3 and 2.6 GB', (_, held) => {
    for (const [precision, limit] of Object.entries(LIMITS))
      expect(held(precision as GpuPrecision), precision).toBeLessThanOrEqual(limit);
  });

  test('three adapters in float32 are 0.7 GB: within the limit beside bfloat16, above it beside int8 and int4', () => {
    const held = plan(3, true);
    expect(held('bfloat16')).toBeLessThanOrEqual(LIMITS.bfloat16);
    expect(held('int8')).toBeCloseTo(4.357, 2);
    expect(held('int4')).toBeCloseTo(2.954, 2);
  });
});

describe('what a batch takes of the published model', () => {
  const megabytes = (batch: PlannedBatch): number => {
    const { alive, waiting } = gpuWork(config, spec, batch, 32);
    return (alive + waiting) / 1e6;
  };
  const texts = (count: number, tokens: number): PlannedBatch => ({
    texts: new Array(count).fill(tokens),
    images: [],
  });

  test('a page takes more than 16 texts of 64 tokens, and a query next to nothing', () => {
    const page = megabytes({ texts: [], images: [[1, 64, 46]] });
    expect(page).toBeGreaterThan(megabytes(texts(16, 64)));
    expect(page).toBeLessThan(160);
    expect(megabytes(texts(1, 20))).toBeLessThan(2.5);
  });

  test('it is what a block makes, one buffer for all that have a size in turn, whatever the depth', () => {
    const { hiddenSize: D, headDim, intermediateSize: F } = config.decoder;
    const [T, low] = [1024, 32];
    const heads = config.decoder.numAttentionHeads + 2 * config.decoder.numKeyValueHeads;
    // x, x + attention, and the next x, whose buffer mixed heads have before; norms with the lows of three maps, and of two
    const values = T * (3 * D + (D + 3 * low) + (D + 2 * low) + low + heads * headDim + F + 2 * headDim);
    expect(megabytes(texts(16, 64))).toBeCloseTo((4 * values) / 1e6, 0);
  });

  test('a long text goes through the MLP in parts', () => {
    const { hiddenSize: D } = config.decoder;
    // What grows are streams; the MLP's rows have five and a half times their width.
    expect(megabytes(texts(1, 16_384)) - megabytes(texts(1, 8192))).toBeLessThan((4 * 8192 * 7 * D) / 1e6);
  });
});

test('a checkpoint is planned as it is: int4 mixed with int8', async () => {
  const tiny = modelSpec(await goldenConfig());
  const bytesOf = async (precision: 'float16' | 'int8' | 'int4', everywhere = false) => {
    const { files } = await quantized({ precision, everywhere });
    const stored = storedOnGpu(tiny, await openCheckpoint(memoryTree('made', files)));
    expect(stored.precision).toBe(precision === 'float16' ? 'bfloat16' : precision);
    return stored.bytes;
  };
  const planned = (precision: GpuPrecision) =>
    weightBuffers(tiny, precision, Number.MAX_SAFE_INTEGER).reduce((sum, n) => sum + n, 0);
  expect(await bytesOf('float16')).toBe(planned('bfloat16'));
  expect(await bytesOf('int8')).toBe(planned('int8'));
  expect(await bytesOf('int4', true)).toBe(planned('int4'));
  const mixed = await bytesOf('int4');
  expect(mixed).toBeGreaterThan(planned('int4'));
  expect(mixed).toBeLessThan(planned('int8'));

  const known = { config, spec, adapters: loraSizes(spec, 1, 32), batches: PLANNED_BATCHES };
  const of = (stored: { precision: GpuPrecision; bytes: number }) =>
    planGpu({ ...known, stored }).map(({ precision, weights }) => [precision, weights]);
  const general = planGpu(known).map(({ precision, weights }) => [precision, weights]);
  expect(of({ precision: 'int4', bytes: 7 })).toEqual([...general.slice(0, 3), ['int4', 7]]);
});

test('rows are padded to fours; int8 has a scale a row, int4 one for 32 weights', () => {
  expect(GPU_PRECISIONS.map((p) => gpuRowBytes(p, 3420))).toEqual([13680, 6840, 3424, 1926]);
  expect(gpuRowBytes('bfloat16', 1178)).toBe(2360);
});

test('what is larger than a binding lies in parts of whole rows', () => {
  // the token table, were it on the GPU, in bindings of 128 MiB
  const parts = bindingParts(151_936, 4096, 2 ** 27);
  expect(parts).toEqual([2 ** 27, 2 ** 27, 2 ** 27, 2 ** 27, 20_864 * 4096]);
  expect(bindingParts(4, 10, 20)).toEqual([20, 20]);
  expect(() => bindingParts(4, 21, 20)).toThrow(
    /a row of 21 bytes is larger than a binding of this GPU \(20\)/,
  );
});

describe('room on the GPU', () => {
  const plans = planGpu({ config, spec, adapters: loraSizes(spec, 3, 32), batches: PLANNED_BATCHES });
  const ask = (gigabytes: number, wanted: RoomQuestion['wanted'], residence: RoomQuestion['residence']) =>
    residenceWithRoom({
      wanted,
      residence,
      stored: 'bfloat16',
      plans,
      hasRoom: async (bytes) => bytes <= gigabytes * 1e9,
    });

  test.each([
    [24, 'float32', 'float32'],
    [8, 'float32', 'bfloat16'],
    [8, 'bfloat16', 'bfloat16'],
    [4, 'float32', 'streamed'],
    [4, 'bfloat16', 'streamed'],
    [0, 'streamed', 'streamed'],
  ] as const)('with %d GB an automatic choice of %s becomes %s', async (gigabytes, residence, found) => {
    expect(await ask(gigabytes, 'auto', residence)).toBe(found);
  });

  test.each([
    [5, /these precisions would fit: int8 \(4\.0 GB\), int4 --everywhere \(2\.6 GB\); residence "streamed"/],
    [3, /these precisions would fit: int4 --everywhere \(2\.6 GB\)/],
    [1, /no precision fits; residence "streamed"/],
  ])('with %d GB bfloat16 by name is refused, and what fits is told', async (gigabytes, message) => {
    const refused = ask(gigabytes, 'bfloat16', 'bfloat16');
    await expect(refused).rejects.toBeInstanceOf(DeviceError);
    await expect(refused).rejects.toThrow(
      /with bfloat16 weights this model takes about 7\.4 GB of GPU memory/,
    );
    await expect(refused).rejects.toThrow(message);
  });
});

describe.skipIf(!BACKENDS.includes('webgpu'))('a device', { timeout: 120_000 }, () => {
  beforeAll(() => startBackend('webgpu'));

  // The published widths with one block of each kind: every size of buffer that the whole model has.
  test.each(GPU_PRECISIONS)(
    'holds %s buffers of the planned sizes, and they add up to the plan',
    async (precision) => {
      const device = gpuDevice() as GPUDevice;
      const scaled = geometryConfig({
        ...GEOMETRIES.published,
        layers: 1,
        vision: { depth: 1, hidden: 1280, mlp: 3420, heads: 16, fullatt: [0] },
      });
      const sizes = weightBuffers(modelSpec(scaled), precision, device.limits.maxStorageBufferBindingSize);
      expect(Math.max(...sizes)).toBeLessThanOrEqual(device.limits.maxStorageBufferBindingSize);
      device.pushErrorScope('out-of-memory');
      device.pushErrorScope('validation');
      const buffers = sizes.map((size) =>
        device.createBuffer({
          size: 4 * Math.ceil(size / 4),
          usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST,
        }),
      );
      const last = new Uint8Array(4).fill(7);
      for (const buffer of buffers) device.queue.writeBuffer(buffer, buffer.size - 4, last);
      await gpuIdle();
      expect([await device.popErrorScope(), await device.popErrorScope()]).toEqual([null, null]);
      const [planned] = planGpu({
        config: scaled,
        spec: modelSpec(scaled),
        adapters: NO_ADAPTERS,
        batches: PLANNED_BATCHES,
      }).filter((p) => p.precision === precision);
      const allocated = buffers.reduce((sum, { size }) => sum + size, 0);
      expect(allocated / planned.weights).toBeCloseTo(1, 4);
      for (const buffer of buffers) buffer.destroy();
    },
  );

  test('is asked for memory, and gives back what it lent', async () => {
    const device = gpuDevice() as GPUDevice;
    expect(await gpuHasRoom(device, 64e6)).toBe(true);
    expect(await gpuHasRoom(device, 64e6)).toBe(true);
    await gpuIdle();
    expect(takeGpuErrors()).toEqual([]);
  });
});

test('a device that gives no more is a no, and everything is given back', async () => {
  let lent = 0;
  let refused = false;
  const device = {
    limits: { maxBufferSize: 2 ** 28 },
    pushErrorScope: () => {},
    popErrorScope: async () => (refused ? { message: 'out of memory' } : null),
    createBuffer: ({ size }: { size: number }) => {
      lent += size;
      refused = lent > 1e9;
      return { destroy: () => (lent -= size) };
    },
  } as unknown as GPUDevice;
  Object.assign(globalThis, { GPUBufferUsage: globalThis.GPUBufferUsage ?? { STORAGE: 128 } });
  expect(await gpuHasRoom(device, 0.9e9)).toBe(true);
  expect(await gpuHasRoom(device, 1.1e9)).toBe(false);
  expect(lent).toBe(0);
});
