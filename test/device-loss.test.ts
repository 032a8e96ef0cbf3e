import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { registerBody } from '../kernels/registry.ts';
import { composedRmsNorm } from '../kernels/rms-norm/rms-norm.ts';
import { gpuCall, watchGpu } from '../src/device-call.ts';
import { gpuDevice, gpuIdle, takeGpuErrors } from '../src/device-webgpu.ts';
import { DeviceError, DeviceLostError, InputError } from '../src/errors.ts';
import { JinaEmbeddings } from '../src/platform/node.ts';
import { BACKENDS, startBackend } from './support/backends.ts';
import { expectClose } from './support/close.ts';
import { GOLDEN } from './support/golden.ts';

// What a GPU cannot do is zeros, and a GPU that went away does nothing at all. Neither may look like an embedding.

const text = 'a red car';
const image = `${GOLDEN}images/small.png`;
const load = (options = {}) => JinaEmbeddings.load(GOLDEN, { device: 'webgpu', ...options });

async function lose(): Promise<void> {
  const device = gpuDevice() as GPUDevice;
  device.destroy();
  await device.lost;
}

/** Runs `f` while every RmsNorm does something to the device first. */
async function meanwhile<T>(act: (device: GPUDevice) => void, f: () => Promise<T>): Promise<T> {
  let once = false;
  registerBody<Parameters<typeof composedRmsNorm>[0], Parameters<typeof composedRmsNorm>[1]>(
    'RmsNorm',
    'webgpu',
    (inputs, attrs) => {
      if (!once) act(gpuDevice() as GPUDevice);
      once = true;
      return composedRmsNorm(inputs, attrs);
    },
  );
  try {
    return await f();
  } finally {
    registerBody('RmsNorm', 'webgpu', composedRmsNorm);
  }
}

/** A binding that its shader does not have: TF.js would read zeros. */
function badDispatch(device: GPUDevice): void {
  const code =
    '@group(0) @binding(0) var<storage, read_write> r : array<f32>; @compute @workgroup_size(1) fn main() { r[0] = 1; }';
  const pipeline = device.createComputePipeline({
    label: 'Odd',
    layout: 'auto',
    compute: { module: device.createShaderModule({ code }) },
  });
  device.createBindGroup({ label: 'Odd', layout: pipeline.getBindGroupLayout(0), entries: [] });
}

describe.skipIf(!BACKENDS.includes('webgpu'))('a GPU that fails', { timeout: 300_000 }, () => {
  beforeAll(() => startBackend('webgpu'));
  afterEach(async () => {
    await gpuIdle();
    takeGpuErrors(); // losses between calls are noted there
  });

  test('an error rejects the call that it came in, with its name; the next call is well', async () => {
    using jina = await load();
    const expected = await jina.encodeText(text);
    const failed = meanwhile(badDispatch, () => jina.encodeText(text));
    await expect(failed).rejects.toThrow(/^encodeText: the GPU could not compute this: .*Odd/s);
    await expect(failed).rejects.toBeInstanceOf(DeviceError);
    expect(await jina.encodeText(text)).toEqual(expected);
    expect(takeGpuErrors()).toEqual([]); // told once
  });

  test('of two calls at once only the one that failed is rejected', async () => {
    using one = await load();
    using other = await load();
    const expected = await other.encodeText(text);
    const [first, second] = await meanwhile(badDispatch, () =>
      Promise.allSettled([one.encodeText(text), other.encodeText(text)]),
    );
    expect(first.status).toBe('rejected');
    expect(second).toEqual({ status: 'fulfilled', value: expected });
  });

  test('an error from before a call, of other code, stays where it was', async () => {
    (gpuDevice() as GPUDevice).createBuffer({ size: 16, usage: 0 });
    await gpuIdle();
    expect(await gpuCall('other', async () => 1)).toBe(1);
    expect(takeGpuErrors()).toHaveLength(1);
  });

  test('an error while a model loads rejects the load; one from before it does not', async () => {
    const device = gpuDevice() as GPUDevice;
    device.createBuffer({ size: 16, usage: 0 });
    await gpuIdle();
    const tensors = tf.memory().numTensors;
    (await load()).dispose();
    expect(takeGpuErrors()).toHaveLength(1); // still nobody's
    const failing = load({
      onProgress: (done: number, total: number) => {
        if (done === total) device.createBuffer({ size: 16, usage: 0 }); // between two steps
      },
    });
    await expect(failing).rejects.toThrow(/^load: the GPU could not compute this: .*[Uu]sage/);
    expect(takeGpuErrors()).toEqual([]);
    expect(tf.memory().numTensors).toBe(tensors);
  });

  test('the low-level model refuses as well, and leaves no tensor', async () => {
    using jina = await load();
    const sequences = [{ ids: Int32Array.of(3, 4, 5) }];
    (await jina.model.forward(sequences)).dispose();
    const before = tf.memory().numTensors;
    const failed = meanwhile(badDispatch, () => jina.model.forward(sequences));
    await expect(failed).rejects.toThrow(/^forward: the GPU could not compute/);
    expect(tf.memory().numTensors).toBe(before);
  });

  test('a step of a load that the GPU refuses rejects the load, by the name of the step', async () => {
    const watch = watchGpu('load');
    watch.step('model.norm.weight', () => {});
    await watch.check();
    watch.step('visual.blocks.0.attn.qkv', () =>
      (gpuDevice() as GPUDevice).createBuffer({ size: 16, usage: 0 }),
    );
    await expect(watch.check()).rejects.toThrow(
      /^load: the GPU could not compute this: visual\.blocks\.0\.attn\.qkv: /,
    );
    await watch.check();
    await lose();
    await expect(watch.check()).rejects.toBeInstanceOf(DeviceLostError);
    await startBackend('webgpu');
    expect(takeGpuErrors()).toHaveLength(1); // the loss alone: the steps are nobody else's
  });

  test.each(['float32', 'bfloat16', 'streamed'] as const)(
    'a device lost in a call rejects it as such; the next call has the same %s weights on another device',
    async (residence) => {
      using jina = await load({ residence });
      const expected = await jina.encode([text, { image }], { task: 'code' });
      const tensors = tf.memory().numTensors;
      const failed = meanwhile(
        (device) => device.destroy(),
        () => jina.encodeText([text, text]),
      );
      await expect(failed).rejects.toBeInstanceOf(DeviceLostError);
      await expect(failed).rejects.toThrow(/^encodeText: the GPU device was lost .* call again/);
      expect(await jina.encode([text, { image }], { task: 'code' })).toEqual(expected);
      expect(tf.memory().numTensors).toBe(tensors);
    },
  );

  test('a device lost between calls is not noticed by the next one', async () => {
    using jina = await load();
    const expected = await jina.encodeText(text);
    await lose();
    expect(jina.model.lost).toBe(true);
    await expect(jina.model.forward([{ ids: Int32Array.of(3) }])).rejects.toThrow(/await model\.restore\(\)/);
    expect(await jina.encodeText(text)).toEqual(expected);
    expect(jina.model.lost).toBe(false);
    // every model of the process comes back, one by one
    using other = await load();
    await lose();
    const [a, b] = await Promise.all([jina.encodeText(text), other.encodeText(text)]);
    expect([a, b]).toEqual([expected, expected]);
  });

  test('adapters from files come back, also renamed and off; what was made in memory is asked for', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'adapters-'));
    try {
      cpSync(`${GOLDEN}adapters`, folder, { recursive: true });
      using jina = await load();
      await jina.loadAdapter(folder, { task: 'code', name: 'mine' });
      jina.model.renameAdapter('mine', 'ours');
      jina.model.disableAdapter('text-matching');
      const { terms, rank, parameters } = jina.model.adapter('code');
      jina.model.addAdapter({ name: 'handmade', terms, rank, parameters, dispose: () => {} });
      const names = [...jina.model.adapters.keys()];
      const expected = await jina.encodeText(text, { task: 'ours' });
      await lose();
      expect(await jina.encodeText(text, { task: 'ours' })).toEqual(expected);
      expect([...jina.model.adapters.keys()]).toEqual(names);
      expect(jina.model.isEnabled('text-matching')).toBe(false);
      const gone = jina.encodeText(text, { task: 'handmade' });
      await expect(gone).rejects.toThrow(
        'adapter "handmade" was lost with the GPU device and cannot be read again (it was made in memory',
      );
      const again = jina.model.adapter('code');
      jina.model.addAdapter({ ...again, name: 'handmade', reload: undefined, dispose: () => {} });
      expect(await jina.encodeText(text, { task: 'handmade' })).toEqual(expected);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test('a merged adapter is merged again', async () => {
    using jina = await load({ residence: 'float32' });
    await jina.model.mergeAdapter('code');
    const expected = await jina.encodeText(text, { task: 'code' });
    await lose();
    const found = await jina.encodeText(text, { task: 'code' });
    expect(jina.model.merged).toBe('code');
    expectClose(found, expected, { relativeToMax: 1e-6, what: 'merged again' });
  });

  test('a source that is gone is told, and a wrong call stays a wrong call', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'model-'));
    cpSync(GOLDEN, folder, { recursive: true, filter: (path) => !path.endsWith('golden.safetensors') });
    using jina = await JinaEmbeddings.load(folder, { device: 'webgpu' });
    rmSync(folder, { recursive: true });
    await expect(jina.encodeText([])).rejects.toBeInstanceOf(InputError);
    await lose();
    await expect(jina.encodeText(text)).rejects.toThrow(/model\.safetensors/);
  });
});
