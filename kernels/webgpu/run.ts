import type * as tf from '@tensorflow/tfjs-core';
import { DeviceError } from '../../src/errors.ts';
import { bufferOf, emptyTensor, type WebGpu, webgpuBackend } from './backend.ts';
import { named } from './errors.ts';
import { type Shader, wgslOf } from './shader.ts';

export type Run<I extends string, U extends string, O = readonly number[] | tf.Tensor> = {
  readonly shader: Shader<I, U>;
  /** A tensor each, or a buffer that lives outside the tensors. */
  readonly inputs: Readonly<Record<I, tf.Tensor | GPUBuffer>>;
  readonly uniforms: Readonly<Record<U, number>>;
  readonly workgroups: readonly [x: number, y?: number, z?: number];
  /** Shape of a new float32 tensor, or a tensor or a buffer that is written into. */
  readonly output: O;
};

export function run<T extends tf.Tensor, I extends string, U extends string>(job: Run<I, U>): T;
export function run<I extends string, U extends string>(job: Run<I, U, GPUBuffer>): GPUBuffer;
/**
 * Records a shader behind what TF.js has recorded so far: nothing is submitted, no copy is made, stock ops before and after it
 * see each other's results. Pipelines are made once a shader; bind groups and uniforms are reused for calls on the same buffers.
 * @throws DeviceError when a buffer or the grid is larger than this device can bind. Other GPU errors arrive at the next
 *   `takeGpuErrors`, named by the shader.
 */
export function run<I extends string, U extends string>(
  job: Run<I, U> | Run<I, U, GPUBuffer>,
): tf.Tensor | GPUBuffer {
  const backend = webgpuBackend();
  const device = stateOf(backend.device);
  const { shader, uniforms, workgroups } = job;
  const names = Object.keys(shader.inputs) as I[];
  const output = isShape(job.output) ? emptyTensor(backend, job.output) : job.output;
  const bound: (tf.Tensor | GPUBuffer)[] = [...names.map((name) => job.inputs[name]), output];
  // Uploads end the compute pass: all of them come before the commands.
  const buffers = bound.map((value): GPUBuffer => (isTensor(value) ? bufferOf(backend, value) : value));
  const fields = Object.entries(shader.uniforms) as [U, 'u32' | 'f32'][];
  if (fields.length > 0) buffers.push(uniformBuffer(device, fields, uniforms));
  checkLimits(device, shader, [...names, 'result'], buffers, workgroups);

  const compiled = pipelineOf(device, shader);
  const group = bindGroup(device, compiled, buffers);
  backend.ensureCommandEncoderReady();
  for (const value of bound) if (isTensor(value)) backend.commandQueueOwnedIds.add(value.dataId);
  backend.computePassEncoder ??= backend.commandEncoder.beginComputePass();
  const pass = backend.computePassEncoder;
  pass.setPipeline(compiled.pipeline);
  pass.setBindGroup(0, group);
  pass.dispatchWorkgroups(...workgroups);
  counts.dispatches++;
  submitWhenMany(backend);
  return output;
}

// As many as TF.js gathers before it submits (WEBGPU_DEFERRED_SUBMIT_BATCH_SIZE); buffers of disposed tensors wait for it.
const GATHERED = 15;

function submitWhenMany(backend: WebGpu): void {
  if (++backend.dispatchCountInPass < GATHERED) return;
  backend.endComputePassEncoder();
  backend.submitQueue();
}

const isTensor = (value: tf.Tensor | GPUBuffer): value is tf.Tensor => 'dataId' in value;

const isShape = (output: readonly number[] | tf.Tensor | GPUBuffer): output is readonly number[] =>
  Array.isArray(output);

/** What has been recorded and made since the program began: tests and benches look at differences. */
export type Counts = { readonly dispatches: number; readonly pipelines: number; readonly bindGroups: number };
const counts = { dispatches: 0, pipelines: 0, bindGroups: 0 };
export const runCounts = (): Counts => ({ ...counts });

type Compiled = { readonly id: number; readonly pipeline: GPUComputePipeline };
type DeviceState = {
  readonly device: GPUDevice;
  readonly pipelines: WeakMap<Shader, Compiled>;
  readonly ids: WeakMap<GPUBuffer, number>;
  readonly groups: Map<string, GPUBindGroup>;
  readonly constants: Map<string, GPUBuffer>;
};

const states = new WeakMap<GPUDevice, DeviceState>();
let nextId = 0;

function stateOf(device: GPUDevice): DeviceState {
  let state = states.get(device);
  if (!state) {
    state = {
      device,
      pipelines: new WeakMap(),
      ids: new WeakMap(),
      groups: new Map(),
      constants: new Map(),
    };
    states.set(device, state);
  }
  return state;
}

function pipelineOf({ device, pipelines }: DeviceState, shader: Shader): Compiled {
  let compiled = pipelines.get(shader);
  if (!compiled) {
    const { name: label } = shader;
    const pipeline = named(device, `the shader of ${label}`, () =>
      device.createComputePipeline({
        label,
        layout: 'auto',
        compute: { module: device.createShaderModule({ label, code: wgslOf(shader) }) },
      }),
    );
    counts.pipelines++;
    compiled = { id: nextId++, pipeline };
    pipelines.set(shader, compiled);
  }
  return compiled;
}

// Both are small; a model of 68 blocks has some 1200 dispatches with weights of their own.
const MOST_GROUPS = 4096;
const MOST_CONSTANTS = 512;

function bindGroup(
  { device, ids, groups }: DeviceState,
  { id, pipeline }: Compiled,
  buffers: readonly GPUBuffer[],
): GPUBindGroup {
  let key = `${id}`;
  for (const buffer of buffers) {
    let bufferId = ids.get(buffer);
    if (bufferId === undefined) {
      bufferId = nextId++;
      ids.set(buffer, bufferId);
    }
    key += `,${bufferId}`;
  }
  let group = groups.get(key);
  if (!group) {
    group = device.createBindGroup({
      label: pipeline.label,
      layout: pipeline.getBindGroupLayout(0),
      entries: buffers.map((buffer, binding) => ({ binding, resource: { buffer } })),
    });
    counts.bindGroups++;
    if (groups.size >= MOST_GROUPS) groups.clear();
    groups.set(key, group);
  }
  return group;
}

function uniformBuffer<U extends string>(
  state: DeviceState,
  fields: readonly (readonly [U, 'u32' | 'f32'])[],
  values: Readonly<Record<U, number>>,
): GPUBuffer {
  const words = new Uint32Array(fields.length);
  const floats = new Float32Array(words.buffer);
  fields.forEach(([name, type], i) => {
    if (type === 'u32') words[i] = values[name];
    else floats[i] = values[name];
  });
  return constantOf(state, words, GPUBufferUsage.UNIFORM);
}

/** A buffer of these words, shared by all calls that ask for the same ones. Never written to, never destroyed by hand. */
export const constant = (words: Int32Array): GPUBuffer =>
  constantOf(stateOf(webgpuBackend().device), words, GPUBufferUsage.STORAGE);

function constantOf(
  { device, constants }: DeviceState,
  words: Int32Array | Uint32Array,
  usage: number,
): GPUBuffer {
  const key = `${usage}:${words.join()}`;
  let buffer = constants.get(key);
  if (!buffer) {
    const size = Math.max(16, Math.ceil(words.byteLength / 16) * 16);
    buffer = device.createBuffer({ size, usage, mappedAtCreation: true });
    new Uint32Array(buffer.getMappedRange(), 0, words.length).set(words);
    buffer.unmap();
    // Recorded commands may still use what is let go here: it is collected, not destroyed.
    if (constants.size >= MOST_CONSTANTS) constants.clear();
    constants.set(key, buffer);
  }
  return buffer;
}

/** Lets go of bind groups, which keep the buffers of past calls known to the driver. */
export const forgetBindGroups = (device: GPUDevice): void => stateOf(device).groups.clear();

function checkLimits(
  { device: { limits } }: DeviceState,
  { name }: Shader,
  names: readonly string[],
  buffers: readonly GPUBuffer[],
  workgroups: readonly (number | undefined)[],
): void {
  const largest = limits.maxStorageBufferBindingSize;
  const over = names.findIndex((_, i) => buffers[i].size > largest);
  if (over >= 0) {
    throw new DeviceError(
      `${name}: "${names[over]}" has ${buffers[over].size} bytes, this GPU binds at most ${largest} at once; ` +
        'use a smaller batch, or another backend',
    );
  }
  const most = limits.maxComputeWorkgroupsPerDimension;
  if (workgroups.some((n) => n !== undefined && n > most)) {
    throw new DeviceError(
      `${name}: a grid of ${workgroups.join(' × ')} workgroups, this GPU takes ${most} a side; use a smaller batch`,
    );
  }
}
