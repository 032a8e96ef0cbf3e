import type { WebGPUBackend } from '@tensorflow/tfjs-backend-webgpu';
import { checksDone, noteGpuError, takeGpuErrors } from '../kernels/webgpu/errors.ts';
import { forgetBindGroups } from '../kernels/webgpu/run.ts';
import type { EngineReport } from './device-engine.ts';
import { DeviceError } from './errors.ts';

// Stock TF.js asks for a bare device. Kernels want more: half precision, subgroups, and bindings as large as the weights.
const FEATURES = ['shader-f16', 'subgroups', 'timestamp-query', 'chromium-experimental-subgroup-matrix'];
const LIMITS = [
  'maxBufferSize',
  'maxStorageBufferBindingSize',
  'maxStorageBuffersPerShaderStage',
  'maxComputeWorkgroupStorageSize',
  'maxComputeInvocationsPerWorkgroup',
  'maxComputeWorkgroupSizeX',
  'maxComputeWorkgroupSizeY',
  'maxComputeWorkgroupSizeZ',
  'maxComputeWorkgroupsPerDimension',
] as const;

const SOFTWARE = /swiftshader|llvmpipe|lavapipe|basic render|software/i;

let starting: Promise<WebGPUBackend> | null = null;
let running: WebGPUBackend | null = null;

/** What an adapter is. Browsers blank the fields that could identify a person, so any of them may be empty. */
export function describeAdapter({ info, features }: GPUAdapter): EngineReport {
  const { vendor, architecture, device, description } = info;
  const software =
    info.isFallbackAdapter || SOFTWARE.test([vendor, architecture, device, description].join(' '));
  const hardware = software ? 'software' : vendor === 'apple' ? 'apple' : 'gpu';
  const name = [vendor, architecture || device].filter(Boolean).join(' ') || 'an unnamed GPU';
  const offered = ['shader-f16', 'subgroups'].filter((f) => features.has(f));
  return {
    available: true,
    detail:
      `WebGPU on ${name}${description && ` (${description})`}` +
      `${software ? ', a GPU emulated on the CPU' : ''}, with ${offered.join(' and ') || 'float32 only'}`,
    hardware,
    device: description || name,
    memory: hardware === 'gpu' ? undefined : null,
  };
}

/** Registers TF.js's WebGPU backend on a device of our own. Once; again only after the device was lost. */
export function startWebGpu(adapter: GPUAdapter): Promise<WebGPUBackend> {
  starting ??= start(adapter).catch((error) => {
    starting = null;
    throw error;
  });
  return starting;
}

async function start(adapter: GPUAdapter): Promise<WebGPUBackend> {
  const tf = await import('@tensorflow/tfjs-core');
  const { WebGPUBackend } = await import('@tensorflow/tfjs-backend-webgpu');
  // By default TF.js computes small tensors in JavaScript: slower than a dispatch in a chain, and other rounding.
  tf.env().set('WEBGPU_CPU_FORWARD', false);
  const existing = running ? undefined : tf.engine().registry.webgpu;
  if (existing) {
    // The application's own TF.js already runs on WebGPU: another device would strand its tensors.
    watch((existing as WebGPUBackend).device);
    running = existing as WebGPUBackend;
    return running;
  }
  const device = await requestDevice(adapter);
  watch(device);
  if (tf.findBackendFactory('webgpu')) tf.removeBackend('webgpu'); // the stock one, or ours whose device was lost
  const backend = new WebGPUBackend(device, adapter.info);
  tf.registerBackend('webgpu', () => backend, 3);
  running = backend;
  return backend;
}

async function requestDevice(adapter: GPUAdapter): Promise<GPUDevice> {
  const requiredFeatures = FEATURES.filter((f) => adapter.features.has(f)) as GPUFeatureName[];
  const requiredLimits = Object.fromEntries(LIMITS.map((name) => [name, adapter.limits[name]]));
  try {
    return await adapter.requestDevice({ requiredFeatures, requiredLimits });
  } catch (error) {
    throw new DeviceError(`the GPU gave no device (${(error as Error).message}); try again, or use wasm`, {
      cause: error,
    });
  }
}

function watch(device: GPUDevice): void {
  device.addEventListener('uncapturederror', ({ error }) => noteGpuError(error.message));
  void device.lost.then(({ reason, message }) => {
    noteGpuError(`the GPU device was lost (${reason || 'unknown reason'}: ${message}); load the model again`);
    if (running?.device === device) starting = null;
  });
}

export { takeGpuErrors };

/** Resolves when the GPU has done everything that was asked of it. At once where WebGPU does not run. */
export async function gpuIdle(): Promise<void> {
  if (!running) return;
  submit(running);
  await running.queue.onSubmittedWorkDone();
  await checksDone();
}

/**
 * Call when results have been read. Without WebGPU it does nothing.
 * @throws DeviceError when the GPU reported errors since the last look: what was read may be zeros
 */
export async function checkGpu(): Promise<void> {
  if (!running) return;
  await checksDone();
  const errors = takeGpuErrors();
  if (errors.length > 0) {
    throw new DeviceError(
      `the GPU could not compute this: ${errors.join('; ')}; use another backend, or smaller batches`,
    );
  }
}

type Pool = { freeBuffers: Map<string, GPUBuffer[]>; numFreeBuffers: number; numBytesAllocated: number };

/**
 * Frees the buffers that TF.js keeps for reuse. It keys them by exact size and never lets one go, so every new sequence
 * length adds its own: call this after a call with many lengths. Without WebGPU it does nothing.
 */
export function trimBufferPool(): void {
  if (!running) return;
  submit(running); // recorded work may still read a buffer that is already free
  forgetBindGroups(running.device);
  const pool = running.bufferManager as unknown as Pool; // the fields are private in its types
  // The lists are emptied, not the map: releaseBuffer ignores every buffer while the map is empty.
  for (const free of pool.freeBuffers.values()) {
    for (const buffer of free.splice(0)) {
      pool.numFreeBuffers--;
      pool.numBytesAllocated -= buffer.size;
      buffer.destroy();
    }
  }
}

function submit(backend: WebGPUBackend): void {
  backend.ensureCommandEncoderReady();
  backend.endComputePassEncoder();
  backend.submitQueue();
}
