import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { makeCheckpoint } from '../bench/make-checkpoint/write-checkpoint.ts';
import type { PlannedBatch } from '../src/activation-plan.ts';
import { adapterSizes } from '../src/adapter-sizes.ts';
import { gpuDevice, trimBufferPool } from '../src/device-webgpu.ts';
import { type GpuPlan, type GpuPrecision, planGpu } from '../src/gpu-plan.ts';
import type { WeightResidence } from '../src/load.ts';
import { JinaEmbeddings, openFolder } from '../src/platform/node.ts';
import { type AdapterFile, listAdapterFiles } from '../weights/adapter-files.ts';
import { memoryTree } from '../weights/memory-source.ts';
import { BACKENDS, startBackend } from './support/backends.ts';
import { configJson } from './support/geometries.ts';
import { type BufferCount, countBuffers } from './support/gpu.ts';
import { quantized } from './support/quantized.ts';

// The published widths divided by four, two decoder blocks, three vision blocks: a scaled copy in the published layout.
const SCALED = configJson({
  hidden: 512,
  layers: 2,
  heads: 4,
  kvHeads: 2,
  mlp: 2752,
  vocab: 512,
  vision: { depth: 3, hidden: 320, mlp: 856, heads: 4, fullatt: [1] },
});

// How matrices are kept on the GPU, by the residence and the checkpoint that keep them so.
const KEPT: readonly {
  readonly precision: GpuPrecision;
  readonly residence: WeightResidence;
  readonly quantization?: Parameters<typeof quantized>[0];
}[] = [
  { precision: 'float32', residence: 'float32' },
  { precision: 'bfloat16', residence: 'bfloat16' },
  { precision: 'int8', residence: 'bfloat16', quantization: { precision: 'int8' } },
  { precision: 'int4', residence: 'bfloat16', quantization: { precision: 'int4', everywhere: true } },
];

type Call = { readonly batch: PlannedBatch; readonly run: (jina: JinaEmbeddings) => Promise<unknown> };

const texts = (count: number, tokens: number): Call => ({
  batch: { texts: new Array(count).fill(tokens), images: [] },
  run: (jina) =>
    jina.encodeText(new Array(count).fill('a '.repeat(tokens)), {
      maxLength: tokens,
      batchSize: count,
    }),
});

const picture = (width: number, height: number): Call => ({
  batch: { texts: [], images: [[1, height / 14, width / 14]] },
  run: (jina) =>
    jina.encodeImage(
      { width, height, channels: 3, data: new Uint8Array(width * height * 3).fill(99) },
      { maxPixels: width * height },
    ),
});

/** All that is free, constants of the last two passes too. */
function releaseAll(): void {
  for (let i = 0; i < 3; i++) trimBufferPool();
}

describe.skipIf(!BACKENDS.includes('webgpu'))('what a model takes of a GPU', { timeout: 600_000 }, () => {
  let folder: string;
  let count: BufferCount;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'gpu-allocation-'));
    await writeFile(join(folder, 'scaled.json'), JSON.stringify(SCALED));
    const geometry = join(folder, 'scaled.json');
    await makeCheckpoint({ out: join(folder, 'model'), geometry, tasks: ['retrieval', 'code'] });
    await startBackend('webgpu');
    count = countBuffers(gpuDevice() as GPUDevice);
  });
  afterAll(async () => {
    count.end();
    await rm(folder, { recursive: true });
  });

  describe.each(KEPT)('with $precision weights', ({ precision, residence, quantization }) => {
    let jina: JinaEmbeddings;
    let resident: number;
    let before: number;
    let files: readonly AdapterFile[];
    const plan = (batch: PlannedBatch): GpuPlan => {
      const { config, spec } = jina.model;
      const plans = planGpu({ config, spec, adapters: adapterSizes(files), batches: [batch] });
      return plans.find((p) => p.precision === precision) as GpuPlan;
    };

    beforeAll(async () => {
      trimBufferPool();
      before = count.bytes();
      const made = await openFolder(join(folder, 'model'));
      files = await listAdapterFiles(made, {});
      const tree = quantization ? memoryTree('made', (await quantized(quantization, made)).files) : made;
      jina = await JinaEmbeddings.load(tree, { device: 'webgpu', residence });
      // Norms and biases are uploaded, and an adapter's B matrices copied, when they are used.
      for (const { run } of [texts(1, 1), picture(56, 56)]) await run(jina);
      await jina.encodeText('a', { task: 'code' });
      releaseAll();
      resident = count.bytes() - before;
    });
    afterAll(() => jina.dispose());

    test('weights and adapters are what the plan says, within 1 %', () => {
      const { weights, adapters, copies } = plan(texts(1, 1).batch);
      expect(jina.model.adapters.size).toBe(2);
      expect(adapters).toBeGreaterThan(weights / 100);
      expect((weights + adapters + copies) / resident).toBeGreaterThan(0.99);
      expect((weights + adapters + copies) / resident).toBeLessThan(1.01);
    });

    test.each([
      ['a query', texts(1, 20)],
      ['sixteen texts', texts(16, 64)],
      ['a long text', texts(1, 1000)],
      ['a picture', picture(224, 280)],
      ['a page', picture(840, 672)],
    ])('so is the most that %s takes, call after call, within 7 %%', async (_, { batch, run }) => {
      releaseAll();
      await run(jina);
      count.watch();
      await run(jina);
      const { work, pool } = plan(batch);
      const most = count.most() - before - resident;
      expect((work + pool) / most).toBeGreaterThan(0.93);
      expect((work + pool) / most).toBeLessThan(1.07);
    });

    test('and it is given back', () => {
      releaseAll();
      expect(count.bytes() - before).toBe(resident);
    });
  });
});
