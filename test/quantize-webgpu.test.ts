import * as tf from '@tensorflow/tfjs-core';
import { afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { adapterSizes } from '../src/adapter-sizes.ts';
import { gpuDevice, gpuIdle } from '../src/device-webgpu.ts';
import { planGpu, storedOnGpu } from '../src/gpu-plan.ts';
import { JinaEmbeddings } from '../src/platform/node.ts';
import { listAdapterFiles } from '../weights/adapter-files.ts';
import { openCheckpoint } from '../weights/checkpoint.ts';
import { memorySource, memoryTree } from '../weights/memory-source.ts';
import { readHeader, type TensorEntry } from '../weights/safetensors.ts';
import { BACKENDS, startBackend } from './support/backends.ts';
import { GOLDEN, goldenIndex } from './support/golden.ts';
import { checkGpu } from './support/gpu.ts';
import { quantized } from './support/quantized.ts';

type Files = Record<string, Uint8Array>;

const KINDS = [
  { name: 'float16', precision: 'float16' },
  { name: 'int8', precision: 'int8' },
  { name: 'int4', precision: 'int4' },
  { name: 'int4 everywhere', precision: 'int4', everywhere: true },
] as const;

describe.skipIf(!BACKENDS.includes('webgpu'))('quantised checkpoints on webgpu', { timeout: 300_000 }, () => {
  const made: Record<string, Files> = {};
  beforeAll(async () => {
    for (const { name, ...options } of KINDS) made[name] = (await quantized(options)).files;
  });
  afterEach(async () => {
    await startBackend('webgpu');
    await gpuIdle();
    await checkGpu();
  });

  const load = (files: Files, device: 'cpu' | 'webgpu', residence: 'float32' | 'bfloat16' = 'bfloat16') =>
    JinaEmbeddings.load(memoryTree('made', files), { device, residence });

  test.each(KINDS)('$name: the vectors that cpu makes of the same bytes', async ({ name }) => {
    const inputs = [...goldenIndex.texts, { image: `${GOLDEN}images/small.png` }];
    const embed = async (device: 'cpu' | 'webgpu') => {
      using jina = await load(made[name], device);
      const plain = await jina.encode(inputs, { task: null });
      return [...plain, ...(await jina.encode(inputs.slice(0, 3), { task: 'code' }))];
    };
    const expected = await embed('cpu');
    const found = await embed('webgpu');
    const differences = found.flatMap((vector, i) => [...vector].map((v, j) => Math.abs(v - expected[i][j])));
    expect(differences.length).toBe(expected.length * expected[0].length);
    expect(differences.reduce((a, b) => Math.max(a, b))).toBeLessThanOrEqual(1e-4);
  });

  test.each(KINDS)(
    '$name: takes the bytes that are planned, and adapters 16 bits a value',
    async ({ name }) => {
      const tree = memoryTree('made', made[name]);
      const checkpoint = await openCheckpoint(tree);
      const files = await listAdapterFiles(tree, {});
      expect(adapterSizes(files).floats).toBe(0);
      await startBackend('webgpu');
      const before = tf.memory().numBytes;
      using jina = await load(made[name], 'webgpu');
      const { spec, config } = jina.model;
      const stored = storedOnGpu(spec, checkpoint);
      const plan = planGpu({
        config,
        spec,
        adapters: adapterSizes(files),
        stored,
        batches: [{ texts: [1], images: [] }],
      }).find(({ precision }) => precision === stored.precision)!;
      const taken = tf.memory().numBytes - before;
      expect(taken / (plan.weights + plan.adapters)).toBeCloseTo(1, 2);
    },
  );

  test('one bit turned: refused by the name of file and tensor, and never written to the GPU', async () => {
    await startBackend('webgpu');
    const files = made.int4;
    const bytes = files['model.safetensors'].slice();
    const { tensors } = await readHeader(memorySource('model.safetensors', bytes));
    for (const tensor of ['model.layers.1.mlp.up_proj.weight', 'visual.blocks.0.attn.qkv.weight_scale']) {
      const { begin, byteLength } = tensors.get(tensor) as TensorEntry;
      const damaged = bytes.slice();
      damaged[begin + Math.floor(byteLength / 2)] ^= 0x10;
      const bad = Buffer.from(damaged.subarray(begin, begin + byteLength));
      const whole = Buffer.from(bytes.subarray(begin, begin + byteLength));
      const device = gpuDevice() as GPUDevice;
      const written: Buffer[] = [];
      const write = vi.spyOn(device.queue, 'writeBuffer').mockImplementation((...[, , data]) => {
        written.push(Buffer.from(data as Uint8Array));
      });
      await load({ ...files, 'model.safetensors': bytes }, 'webgpu').then((jina) => jina.dispose());
      expect(written.some((data) => data.includes(whole))).toBe(true); // what is looked for would be found
      written.length = 0;
      const before = tf.memory().numTensors;
      await expect(load({ ...files, 'model.safetensors': damaged }, 'webgpu')).rejects.toThrow(
        `made/model.safetensors: tensor "${tensor}": its bytes have the checksum`,
      );
      expect(written.some((data) => data.includes(bad))).toBe(false);
      expect(tf.memory().numTensors).toBe(before);
      write.mockRestore();
    }
  });
});
