import * as tf from '@tensorflow/tfjs-core';
import { afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { gpuIdle, KEPT_BYTES, takeGpuErrors, trimBufferPool } from '../../src/device-webgpu.ts';
import { DeviceError } from '../../src/errors.ts';
import { BACKENDS, expectNoLeak, startBackend } from '../../test/support/backends.ts';
import { expectClose, gaussian } from '../../test/support/close.ts';
import { checkGpu } from '../../test/support/gpu.ts';
import { matrixStore } from '../linear/matrix-store.ts';
import { sizesChange } from '../size-change.ts';
import { webgpuBackend } from './backend.ts';
import type { BufferPool } from './buffer-pool.ts';
import { constant, run, runCounts } from './run.ts';
import type { Shader } from './shader.ts';

const scaled: Shader<'x', 'size' | 'by'> = {
  name: 'Scaled',
  inputs: { x: 'f32' },
  output: 'f32',
  uniforms: { size: 'u32', by: 'f32' },
  code: `
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id : vec3<u32>) {
  if (id.x < u.size) { result[id.x] = x[id.x] * u.by; }
}`,
};

const scale = (x: tf.Tensor1D, by: number, shader = scaled): tf.Tensor1D =>
  run({
    shader,
    inputs: { x },
    uniforms: { size: x.size, by },
    workgroups: [Math.ceil(x.size / 64)],
    output: [x.size],
  });

const bytesOf = ({ buffer, byteOffset, byteLength }: Float32Array) =>
  new Uint8Array(buffer, byteOffset, byteLength);

describe.skipIf(!BACKENDS.includes('webgpu'))('shaders between the ops of TF.js', () => {
  beforeAll(() => startBackend('webgpu'));
  afterEach(() => gpuIdle());

  test('run in program order, also where a tensor is disposed before the submit', async () => {
    const values = gaussian(1000, 1);
    const found = await expectNoLeak(async () => {
      const y = tf.tidy(() => {
        let x = tf.tensor1d(values);
        for (let i = 0; i < 40; i++) x = tf.add(scale(x, 0.5), 1); // several submits
        return x;
      });
      const read = await y.data();
      y.dispose();
      return read;
    });
    let expected = Float64Array.from(values);
    for (let i = 0; i < 40; i++) expected = expected.map((v) => v * 0.5 + 1);
    expectClose(found, expected, { relativeToMax: 1e-6, what: 'scale and add in turns' });
    await checkGpu();
  });

  test('calls on the same buffers reuse pipeline and bind group, after trimming too', async () => {
    const x = tf.tensor1d(gaussian(4096, 2));
    const call = async () => {
      const y = scale(x, 3);
      const [first] = await y.data();
      y.dispose();
      return first;
    };
    const first = await call();
    const before = runCounts();
    for (let i = 0; i < 5; i++) expect(await call()).toBe(first);
    const after = runCounts();
    expect(after.dispatches - before.dispatches).toBe(5);
    expect(after.pipelines).toBe(before.pipelines);
    expect(after.bindGroups - before.bindGroups).toBeLessThan(5);
    trimBufferPool();
    expect(await call()).toBe(first);
    await checkGpu();
    x.dispose();
  });

  test('values are uploaded in program order, into buffers that are free', async () => {
    const sizes = [1, 7, 1000];
    for (let round = 0; round < 3; round++) {
      for (const size of sizes) {
        const values = gaussian(size, round * 10 + size);
        const ints = Int32Array.from(values, (v) => Math.round(v * 1000));
        const y = tf.tidy(() => {
          tf.add(tf.tensor1d(gaussian(size, 99)), 1); // its buffers are free before anything is submitted
          const flags = tf.tensor1d(
            [...ints].map((v) => v > 0),
            'bool',
          );
          const x = tf.where(flags, tf.tensor1d(values), tf.cast(tf.tensor1d(ints, 'int32'), 'float32'));
          return scale(x, 2);
        });
        const expected = Float64Array.from(values, (v, i) => 2 * (ints[i] > 0 ? v : ints[i]));
        expectClose(await y.data(), expected, { relativeToMax: 1e-6, what: `${size} uploaded values` });
        y.dispose();
      }
    }
    const empty = tf.tensor2d([], [0, 3]);
    expect((await tf.concat([empty, tf.tensor2d([[1, 2, 3]])]).data()).length).toBe(3);
    await checkGpu();
  });

  test('a disposed tensor lends its buffer at once, but not to what the queue writes before the submit', async () => {
    const size = 5000;
    const [a, b, c] = [1, 2, 3].map((seed) => gaussian(size, seed));
    trimBufferPool();
    const { device } = webgpuBackend();
    const create = vi.spyOn(device, 'createBuffer');
    const made = () => create.mock.calls.filter(([{ size: bytes }]) => bytes === 4 * size).length;
    let x = tf.tensor1d(a);
    for (let i = 0; i < 8; i++) {
      const next = scale(x, 2);
      x.dispose();
      x = next;
    }
    expect(made()).toBe(2);
    const y = tf.tensor1d(b); // the other of the two is free, and the commands that use it are still to run
    const matrix = matrixStore().float32({ bytes: bytesOf(c), dtype: 'F32', outSize: 1, inSize: size });
    const z = scale(y, 3);
    expect(made()).toBe(4);
    create.mockRestore();
    const near = (values: ArrayLike<number>, by: number, from: Float32Array) =>
      expectClose(
        values,
        Float64Array.from(from, (v) => v * by),
        { relativeToMax: 1e-6, what: 'scaled' },
      );
    near(await x.data(), 256, a);
    near(await z.data(), 3, b);
    const dense = tf.tidy(() => tf.clone(matrix.dense()));
    near(await dense.data(), 1, c);
    matrix.dispose();
    tf.dispose([x, y, z, dense]);
    await checkGpu();
  });

  test('within a pass large free buffers are destroyed after what uses them, small ones are not', async () => {
    trimBufferPool();
    const free = () => (webgpuBackend().bufferManager as BufferPool).numBytesFree;
    const values = gaussian(1000, 4);
    const large = tf.tidy(() => scale(tf.zeros([Math.ceil(0.15 * KEPT_BYTES)]), 1));
    const small = tf.tidy(() => scale(scale(tf.tensor1d(values), 2), 2));
    large.dispose(); // two buffers, whose command is recorded and not submitted
    expect(free()).toBeGreaterThan(KEPT_BYTES);
    sizesChange();
    expect(free()).toBeGreaterThan(0);
    expect(free()).toBeLessThanOrEqual(KEPT_BYTES);
    scale(small, 1).dispose();
    sizesChange();
    expect(webgpuBackend().dispatchCountInPass).toBe(1); // nothing to destroy: nothing is submitted for it
    expectClose(
      await small.data(),
      Float64Array.from(values, (v) => 4 * v),
      { relativeToMax: 1e-6, what: 'small' },
    );
    small.dispose();
    await checkGpu();
  });

  test('constants of the same words are one buffer', () => {
    const words = Int32Array.of(1, -2, 3);
    expect(constant(words)).toBe(constant(Int32Array.from(words)));
    expect(constant(words)).not.toBe(constant(Int32Array.of(1, -2, 4)));
  });

  test('a shader that does not compile is named, and what was read is refused', async () => {
    const x = tf.tensor1d([1, 2, 3]);
    const y = scale(x, 2, {
      ...scaled,
      name: 'Broken',
      code: `${scaled.code}\nfn odd() -> f32 { return 1u; }`,
    });
    await y.data();
    const refusal = await checkGpu().catch((error: unknown) => error as Error);
    expect(refusal).toBeInstanceOf(DeviceError);
    expect((refusal as Error).message).toMatch(/the GPU could not compute this: the shader of Broken: /);
    await checkGpu(); // told once
    tf.dispose([x, y]);
  });

  test('an error of the device outside our shaders is refused as well', async () => {
    const { device } = webgpuBackend();
    device.createBuffer({ size: 16, usage: 0 });
    await gpuIdle();
    await expect(checkGpu()).rejects.toThrow(DeviceError);
    expect(takeGpuErrors()).toEqual([]);
  });

  test('a grid or a buffer beyond the limits throws with both numbers', () => {
    const x = tf.tensor1d([1]);
    const most = webgpuBackend().device.limits.maxComputeWorkgroupsPerDimension;
    const job = { shader: scaled, inputs: { x }, uniforms: { size: 1, by: 1 }, output: [1] };
    expect(() => tf.tidy(() => run({ ...job, workgroups: [most + 1] }))).toThrow(
      `Scaled: a grid of ${most + 1} workgroups, this GPU takes ${most} a side`,
    );
    const { device } = webgpuBackend();
    const size = device.limits.maxStorageBufferBindingSize + 16;
    const large = device.createBuffer({ size, usage: GPUBufferUsage.STORAGE });
    expect(() => tf.tidy(() => run({ ...job, inputs: { x: large }, workgroups: [1] }))).toThrow(
      `Scaled: "x" has ${size} bytes`,
    );
    large.destroy();
    x.dispose();
  });
});
