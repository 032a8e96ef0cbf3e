import type * as tf from '@tensorflow/tfjs-core';
import { DeviceError } from '../../src/errors.ts';
import { bufferOf, emptyTensor, type WebGpu, webgpuBackend } from './backend.ts';
import { BindGroups } from './bind-groups.ts';
import { Constants } from './constants.ts';
import { named } from './errors.ts';
import { type Limits, limitsOf } from './limits.ts';
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
  const state = stateOf(backend.device);
  const { shader, workgroups } = job;
  const compiled = compiledOf(state, shader);
  const { names } = compiled;
  const output = isShape(job.output) ? emptyTensor(backend, job.output) : job.output;
  checkGrid(state, shader, workgroups);
  // Uploads end the compute pass: all of them come before the commands.
  const buffers: GPUBuffer[] = [];
  for (const name of names) {
    const input = job.inputs[name as I];
    buffers.push(isTensor(input) ? bufferOf(backend, input) : input);
  }
  buffers.push(isTensor(output) ? bufferOf(backend, output) : output);
  if (compiled.fields.length > 0) buffers.push(uniformBuffer(state, compiled, job.uniforms));

  const group = state.groups.find(compiled.id, buffers, () => makeGroup(state, shader, compiled, buffers));
  backend.ensureCommandEncoderReady();
  const owned = backend.commandQueueOwnedIds;
  for (const name of names) {
    const input = job.inputs[name as I];
    if (isTensor(input)) owned.add(input.dataId);
  }
  if (isTensor(output)) owned.add(output.dataId);
  backend.computePassEncoder ??= backend.commandEncoder.beginComputePass();
  const pass = backend.computePassEncoder;
  if (!isSet(pass, compiled, backend.dispatchCountInPass)) pass.setPipeline(compiled.pipeline);
  pass.setBindGroup(0, group);
  pass.dispatchWorkgroups(workgroups[0], workgroups[1], workgroups[2]);
  last = { pass, compiled, dispatches: ++backend.dispatchCountInPass };
  counts.dispatches++;
  submitWhenMany(backend);
  return output;
}

let last: { pass: GPUComputePassEncoder; compiled: Compiled; dispatches: number } | null = null;

/** Whether this pass still has the pipeline of our last dispatch: none of TF.js's own has come in between. */
const isSet = (pass: GPUComputePassEncoder, compiled: Compiled, dispatches: number): boolean =>
  last !== null && last.pass === pass && last.compiled === compiled && last.dispatches === dispatches;

// As many as TF.js gathers before it submits (WEBGPU_DEFERRED_SUBMIT_BATCH_SIZE).
const GATHERED = 15;

function submitWhenMany(backend: WebGpu): void {
  if (backend.dispatchCountInPass < GATHERED) return;
  last = null;
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

/** A shader that is ready to run, and what is read of it at every call. */
type Compiled = {
  readonly id: number;
  readonly pipeline: GPUComputePipeline;
  readonly names: readonly string[];
  readonly fields: readonly { readonly name: string; readonly float: boolean }[];
  /** The uniforms of the call that is being recorded, as words and as floats. */
  readonly words: Uint32Array;
  readonly floats: Float32Array;
};

type DeviceState = {
  readonly device: GPUDevice;
  readonly limits: Limits;
  readonly compiled: WeakMap<Shader, Compiled>;
  readonly groups: BindGroups;
  readonly constants: Constants;
};

const states = new WeakMap<GPUDevice, DeviceState>();
let nextId = 0;

function stateOf(device: GPUDevice): DeviceState {
  let state = states.get(device);
  if (!state) {
    state = {
      device,
      limits: limitsOf(device),
      compiled: new WeakMap(),
      groups: new BindGroups(),
      constants: new Constants(device),
    };
    states.set(device, state);
  }
  return state;
}

function compiledOf({ device, compiled }: DeviceState, shader: Shader): Compiled {
  const known = compiled.get(shader);
  if (known) return known;
  const { name: label } = shader;
  const pipeline = named(device, `the shader of ${label}`, () =>
    device.createComputePipeline({
      label,
      layout: 'auto',
      compute: { module: device.createShaderModule({ label, code: wgslOf(shader) }) },
    }),
  );
  counts.pipelines++;
  const fields = Object.entries(shader.uniforms).map(([name, type]) => ({ name, float: type === 'f32' }));
  const words = new Uint32Array(fields.length);
  const made = {
    id: nextId++,
    pipeline,
    names: Object.keys(shader.inputs),
    fields,
    words,
    floats: new Float32Array(words.buffer),
  };
  compiled.set(shader, made);
  return made;
}

function makeGroup(
  { device, limits }: DeviceState,
  { name }: Shader,
  { pipeline, names }: Compiled,
  buffers: readonly GPUBuffer[],
): GPUBindGroup {
  const largestBinding = limits.maxStorageBufferBindingSize;
  for (const [i, { size }] of buffers.entries()) {
    if (size <= largestBinding) continue;
    throw new DeviceError(
      `${name}: "${names[i] ?? 'result'}" has ${size} bytes, this GPU binds at most ${largestBinding} at once; ` +
        'use a smaller batch, or another backend',
    );
  }
  counts.bindGroups++;
  return device.createBindGroup({
    label: name,
    layout: pipeline.getBindGroupLayout(0),
    entries: buffers.map((buffer, binding) => ({ binding, resource: { buffer } })),
  });
}

function uniformBuffer(
  { constants }: DeviceState,
  { fields, words, floats }: Compiled,
  values: Readonly<Record<string, number>>,
): GPUBuffer {
  for (let i = 0; i < fields.length; i++) {
    const { name, float } = fields[i];
    if (float) floats[i] = values[name];
    else words[i] = values[name];
  }
  return constants.find(words, GPUBufferUsage.UNIFORM);
}

/**
 * A buffer of these words, shared by all calls that ask for the same ones. For the dispatch that is about to be recorded, not
 * to be kept: it is destroyed when no call of the last two passes asked for it.
 */
export const constant = (words: Int32Array): GPUBuffer =>
  stateOf(webgpuBackend().device).constants.find(words, GPUBufferUsage.STORAGE);

/** Lets go of what knows destroyed buffers. */
export const forgetBuffers = (device: GPUDevice, destroyed: readonly GPUBuffer[]): void =>
  stateOf(device).groups.forget(destroyed);

/** The same at the end of a pass, and of constants that the last two passes did not need. Submit before. */
export const endPass = (device: GPUDevice, destroyed: readonly GPUBuffer[]): void =>
  forgetBuffers(device, [...destroyed, ...stateOf(device).constants.trim()]);

/** Bind groups that are kept for calls on the same buffers. */
export const bindGroupsKept = (device: GPUDevice): number => stateOf(device).groups.size;

function checkGrid({ limits }: DeviceState, { name }: Shader, workgroups: Run<string, string>['workgroups']) {
  const mostWorkgroups = limits.maxComputeWorkgroupsPerDimension;
  const [x, y = 1, z = 1] = workgroups;
  if (x <= mostWorkgroups && y <= mostWorkgroups && z <= mostWorkgroups) return;
  throw new DeviceError(
    `${name}: a grid of ${workgroups.join(' × ')} workgroups, this GPU takes ${mostWorkgroups} a side; use a smaller batch`,
  );
}
