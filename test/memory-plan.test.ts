import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, test } from 'vitest';
import { activationBytes, type PlannedBatch } from '../src/activation-plan.ts';
import { adapterBytes, adapterSizes, loraSizes } from '../src/adapter-sizes.ts';
import { measureDora } from '../src/adapters/measure-dora.ts';
import { chooseResidence, PLANNED_BATCHES, planMemory, storedSizes } from '../src/memory-plan.ts';
import { checkpointTensors, modelSpec } from '../src/params.ts';
import { openFolder } from '../src/platform/node-files.ts';
import { planTensors, writtenBytes } from '../src/quantize/plan.ts';
import type { Grid } from '../src/vision/windows.ts';
import { listAdapterFiles } from '../weights/adapter-files.ts';
import type { ByteSource } from '../weights/byte-source.ts';
import type { Checkpoint } from '../weights/checkpoint.ts';
import { byteLengthOf } from '../weights/dtypes.ts';
import type { StoredPrecision } from '../weights/quantization-recipe.ts';
import type { TensorEntry } from '../weights/safetensors.ts';
import { adapterIn, baseMaps, goldenFile } from './adapters/golden-maps.ts';
import { startBackend } from './support/backends.ts';
import { GEOMETRIES, geometryConfig, narrowed } from './support/geometries.ts';
import { mostAlive } from './support/most-alive.ts';
import { randomAdapter, randomModel } from './support/random-model.ts';

// The plan mirrors the code tidy by tidy; here it is held against the tensors that TF.js has alive, views counted once.

beforeAll(() => startBackend('wasm'));

const config = geometryConfig(narrowed(GEOMETRIES.published));
const spec = modelSpec(config);

/** Runs a batch and says how far the plan is from what was alive. */
async function plannedToAlive({ texts, images }: PlannedBatch, adapter: string | null): Promise<number> {
  const model = randomModel(config);
  if (adapter) model.addAdapter(randomAdapter(config, adapter, 8, 'none'));
  const { image, visionStart } = config.tokens;
  const frame = new Array(8).fill(3);
  const sequences = [
    ...texts.map((tokens) => ({ ids: new Int32Array(tokens).fill(3), grids: [] as Grid[] })),
    ...images.map((grid) => ({
      ids: Int32Array.from([
        ...frame,
        visionStart,
        ...new Array((grid[1] * grid[2]) / 4).fill(image),
        ...frame,
      ]),
      grids: [grid],
    })),
  ];
  const patches = images.reduce((sum, [t, h, w]) => sum + t * h * w, 0);
  const pixelValues = new Float32Array(patches * config.vision.patchValues).fill(0.1);
  const alive = await mostAlive(async () => {
    const seen = images.length ? await model.see({ pixelValues, grids: images }) : null;
    (await model.forward(sequences, { seen, adapter })).dispose();
    seen?.dispose();
  });
  model.dispose();
  const form = { packed: false, rank: adapter ? 8 : 0 };
  return activationBytes(config, spec, { texts, images }, form) / alive;
}

test.each<[string, PlannedBatch]>([
  ['short texts', { texts: [64, 64, 64, 64], images: [] }],
  ['texts of many lengths', { texts: [10, 200, 33, 33, 7], images: [] }],
  ['a long text, attended in parts', { texts: [3000], images: [] }],
  ['a page', { texts: [], images: [[1, 32, 46]] }],
  [
    'small pictures',
    {
      texts: [],
      images: [
        [1, 8, 8],
        [1, 8, 8],
        [1, 12, 4],
      ],
    },
  ],
])('the plan of %s is what is alive, within 8 %%', async (_, batch) => {
  for (const adapter of [null, 'lora']) {
    const ratio = await plannedToAlive(batch, adapter);
    expect(ratio, `adapter ${adapter}`).toBeGreaterThan(0.92);
    expect(ratio, `adapter ${adapter}`).toBeLessThan(1.08);
  }
});

test.each(['plain', 'dora', 'dora-convolution', 'bias', 'saved', 'patterns'].map((name) => `forms/${name}`))(
  'the adapter in %s takes the planned bytes: DoRA, biases and whole maps, too',
  async (folder) => {
    const base = await baseMaps(await goldenFile('peft-loads.safetensors'));
    const before = tf.memory().numBytes;
    const { adapter } = await measureDora(await adapterIn(folder), base.params);
    const held = tf.memory().numBytes - before;
    adapter.dispose();
    base.dispose();
    const tree = await openFolder(`test/adapters/${folder}`);
    const sizes = adapterSizes(await listAdapterFiles(tree));
    await tree.close();
    expect(adapterBytes(sizes, 'float32')).toBe(held);
    expect(sizes.rank).toBe(adapter.rank);
  },
);

test('16-bit matrices stay so beside packed weights; vectors and wider matrices are float32', () => {
  const sizes = { rank: 4, halves: 100, floats: 10, tables: 0 };
  expect(adapterBytes(sizes, 'narrow')).toBe(240);
  expect(adapterBytes(sizes, 'float32')).toBe(440);
});

describe('the published model on wasm, whose heap ends at 4 GB', () => {
  const published = geometryConfig(GEOMETRIES.published);
  const spec = modelSpec(published);

  /** Sizes of its checkpoint, as published or as `quantize` would write it. */
  function sizes(precision: 'bfloat16' | StoredPrecision, everywhere = false) {
    const source = { name: 'model.safetensors' } as ByteSource;
    const entries = new Map(
      checkpointTensors(spec).map(({ name, shape }): [string, TensorEntry] => [
        name,
        { name, dtype: 'BF16', shape, source, begin: 0, byteLength: byteLengthOf('BF16', shape) },
      ]),
    );
    if (precision === 'bfloat16') return storedSizes(spec, entries);
    const checkpoint = { entries, files: [source] } as unknown as Checkpoint;
    for (const { tensors } of planTensors(spec, checkpoint, { precision, everywhere }))
      for (const { entry, planned } of tensors)
        if (planned) entries.set(entry.name, { ...entry, byteLength: writtenBytes([planned]) });
    return storedSizes(spec, entries);
  }
  const plansOf = (stored: ReturnType<typeof sizes>, adapters = 3, batches = PLANNED_BATCHES) =>
    planMemory({
      config: published,
      spec,
      backend: 'wasm',
      ...stored,
      adapters: loraSizes(spec, adapters, 32),
      tokenizerTokens: 151_665,
      batches,
    });
  const chosen = (plans: ReturnType<typeof plansOf>, wanted: 'auto' | 'bfloat16' = 'auto') =>
    chooseResidence(wanted, 'wasm', plans, 64e9).residence;
  const refusal = /a WebAssembly heap ends at 4 GB; these would fit: streamed/;

  test('is refused in bfloat16 before loading', () => {
    const plans = plansOf(sizes('bfloat16'));
    expect(() => chosen(plans, 'bfloat16')).toThrow(refusal);
    expect(chosen(plans)).toBe('streamed');
  });

  test('in int8 auto streams it; by name it runs with three adapters, and is refused with four', () => {
    const plans = plansOf(sizes('int8'));
    expect(plans[1].weights / 1e9).toBeCloseTo(3.45 + 0.62, 1);
    expect(chosen(plans, 'bfloat16')).toBe('bfloat16');
    expect(chosen(plans)).toBe('streamed');
    expect(() => chosen(plansOf(sizes('int8'), 4), 'bfloat16')).toThrow(refusal);
  });

  test('stays in memory in int4, with three adapters', () => {
    for (const everywhere of [false, true]) {
      const plans = plansOf(sizes('int4', everywhere));
      expect(chosen(plans, 'bfloat16')).toBe('bfloat16');
      expect(chosen(plans)).toBe('bfloat16');
    }
    // The token table lies outside the heap, so it does not count.
    const [, alone] = plansOf(sizes('int4', true), 0, [{ texts: [64], images: [] }]);
    expect(alone.weights / 1e9).toBeCloseTo(2.05 + 0.62, 1);
    expect(alone.heap / 1e9).toBeCloseTo(2.05, 1);
  });

  test('is refused in int4 where the planned batch takes what is left', () => {
    const plans = plansOf(sizes('int4'), 3, [{ texts: [8192], images: [] }]);
    expect(() => chosen(plans, 'bfloat16')).toThrow(refusal);
  });
});

test('beside a GPU with memory of its own the host holds the table, whatever the weights take', () => {
  const published = geometryConfig(GEOMETRIES.published);
  const plans = (ownMemory: boolean) =>
    planMemory({
      config: published,
      spec: modelSpec(published),
      tableBytes: 2,
      backend: 'webgpu',
      ownMemory,
      weightBytes: 2,
      adapters: loraSizes(modelSpec(published), 3, 32),
      tokenizerTokens: 151_665,
      batches: [{ texts: [64], images: [] }],
    });
  const [float32, bfloat16, streamed] = plans(true);
  expect(bfloat16.total).toBe(float32.total);
  expect(float32.weights).toBe(151_936 * 2048 * 2);
  expect(float32.total).toBeLessThan(1.8e9);
  expect(streamed.total).toBeLessThan(float32.total - 0.6e9);
  // A machine of 4 GB with a large GPU: the GPU's room decides. Where the GPU borrows the host's memory, that does.
  expect(chooseResidence('auto', 'webgpu', plans(true), 4e9).residence).toBe('float32');
  expect(chooseResidence('auto', 'webgpu', plans(false), 4e9).residence).toBe('streamed');
  expect(chooseResidence('float32', 'webgpu', plans(true), 4e9).residence).toBe('float32');
  expect(() => chooseResidence('float32', 'webgpu', plans(false), 4e9)).toThrow(/only 4\.0 GB are free/);
});

test('memory grows linearly with the length', () => {
  const published = geometryConfig(GEOMETRIES.published);
  const bytes = (tokens: number) =>
    activationBytes(
      published,
      modelSpec(published),
      { texts: [tokens], images: [] },
      { packed: true, rank: 32 },
    );
  expect(bytes(65_536) / bytes(32_768)).toBeLessThan(2.05);
});
