import type { WebGPUBackend } from '@tensorflow/tfjs-backend-webgpu';
import { dropOldStacks } from '../kernels/fan/stack.webgpu.ts';
import { onSizeChange } from '../kernels/size-change.ts';
import type { WebGpu } from '../kernels/webgpu/backend.ts';
import { BufferPool, type StockPool } from '../kernels/webgpu/buffer-pool.ts';
import { checksDone, noteGpuError, takeGpuErrors } from '../kernels/webgpu/errors.ts';
import { freeInOrder } from '../kernels/webgpu/free-in-order.ts';
import { noteOffers, offersFrom } from '../kernels/webgpu/offers.ts';
import { endPass, forgetBuffers } from '../kernels/webgpu/run.ts';
import { uploadThroughQueue } from '../kernels/webgpu/upload.ts';
import type { EngineOptions, EngineReport } from './device-engine.ts';
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

// Whose GPUs use the host's memory: all of them, or nearly all. AMD makes both kinds, and WebGPU does not tell which.
const LENT = /^(intel|qualcomm|arm|img-tec|broadcom)$/i;

const SOFTWARE = /swiftshader|llvmpipe|lavapipe|basic render|software/i;

let starting: Promise<WebGPUBackend> | null = null;
let running: WebGPUBackend | null = null;
let losses: string[] = [];

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
    half: features.has('shader-f16'),
    device: description || name,
    memory: hardware === 'gpu' && !LENT.test(vendor) ? undefined : null,
  };
}

/**
 * Registers TF.js's WebGPU backend on a device of our own. Once; again only after the device was lost.
 * @throws DeviceError for an emulated GPU that nobody asked for: after a crash, browsers may offer one instead of the real one
 */
export async function startWebGpu(
  adapter: GPUAdapter,
  { software = false }: Pick<EngineOptions, 'software'> = {},
): Promise<EngineReport> {
  const report = describeAdapter(adapter);
  if (report.hardware === 'software' && !software) {
    throw new DeviceError(
      `all that is there is ${report.detail}, which runs only when asked for by name (device "webgpu"); ` +
        'use wasm, or restart the browser or the graphics driver',
    );
  }
  starting ??= start(adapter).catch((error) => {
    starting = null;
    throw error;
  });
  await starting;
  return report;
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
    running = pooled(existing as WebGPUBackend);
    return running;
  }
  const device = await requestDevice(adapter);
  noteOffers(device, offersFrom(device.features, adapter.info));
  watch(device);
  if (tf.findBackendFactory('webgpu')) tf.removeBackend('webgpu'); // the stock one, or ours whose device was lost
  const backend = pooled(new WebGPUBackend(device, adapter.info));
  tf.registerBackend('webgpu', () => backend, 3);
  running = backend;
  return backend;
}

/** Gives a backend a buffer pool that lets go and lends at once what is disposed, and uploads that need no second buffer. */
function pooled(backend: WebGPUBackend): WebGPUBackend {
  const stock = backend.bufferManager as unknown as StockPool | BufferPool;
  if ('trim' in stock) return backend; // by another copy of this package
  Object.assign(backend, { bufferManager: new BufferPool(backend.device, stock) });
  freeInOrder(backend as unknown as Parameters<typeof freeInOrder>[0]);
  onSizeChange(shrinkBufferPool);
  uploadThroughQueue(backend as unknown as WebGpu);
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
    const loss = `the GPU device was lost (${reason || 'unknown reason'}: ${message})`;
    noteGpuError(loss);
    if (running?.device !== device) return;
    losses = [...losses, loss];
    starting = null;
  });
}

export { noteGpuError, takeGpuErrors };

/** What was said of every device that was lost so far. What was made before the last loss is gone. */
export const gpuLosses = (): readonly string[] => losses;

/** The device that computes now; null where WebGPU does not run, or its device is lost and none has taken its place. */
export const gpuDevice = (): GPUDevice | null => (starting && running ? running.device : null);

/** Resolves when the GPU has done everything that was asked of it. At once where WebGPU does not run. */
export async function gpuIdle(): Promise<void> {
  if (!running) return;
  if (starting) submit(running); // a lost device takes nothing
  await running.queue.onSubmittedWorkDone();
  await checksDone();
}

/**
 * Bytes of free buffers that wait for the next call of the same shape: all that a query has. A large batch makes its buffers
 * again, which takes the host less than a thousandth of what the batch takes the GPU; its memory is worth more.
 */
export const KEPT_BYTES = 16 * 2 ** 20;

/**
 * Ends a pass of the model: free buffers that the last two passes used stay for the next, up to so many bytes, and the others
 * are destroyed, with all that names them. Without WebGPU it does nothing.
 */
export function trimBufferPool(most = 0): void {
  if (!running || !starting) return;
  submit(running); // recorded work may still read a buffer that is already free
  const pool = running.bufferManager as unknown as BufferPool;
  endPass(running.device, [...dropOldStacks(running.device), ...pool.trim(most)]);
}

/**
 * Within a pass, where tensors of other sizes follow: free buffers beyond `KEPT_BYTES` are destroyed. A query has fewer, and
 * costs a comparison. Without WebGPU it does nothing.
 */
function shrinkBufferPool(): void {
  if (!running || !starting) return;
  const pool = running.bufferManager as unknown as BufferPool;
  if (pool.numBytesFree <= KEPT_BYTES) return;
  submit(running);
  forgetBuffers(running.device, pool.shrink(KEPT_BYTES));
}

function submit(backend: WebGPUBackend): void {
  backend.ensureCommandEncoderReady();
  backend.endComputePassEncoder();
  backend.submitQueue();
}
