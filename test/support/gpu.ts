import { gpuIdle, takeGpuErrors } from '../../src/device-webgpu.ts';
import { DeviceError } from '../../src/errors.ts';

/** For tests below the calls of the API, which look for themselves. @throws DeviceError when the GPU reported errors */
export async function checkGpu(): Promise<void> {
  await gpuIdle();
  const errors = takeGpuErrors();
  if (errors.length > 0) throw new DeviceError(`the GPU could not compute this: ${errors.join('; ')}`);
}

/** Names of the shaders that run meanwhile, ours and those of stock ops. */
export async function shadersOf(f: () => Promise<unknown>): Promise<readonly string[]> {
  const pass = GPUComputePassEncoder.prototype;
  const { setPipeline } = pass;
  const names = new Set<string>();
  pass.setPipeline = function (pipeline) {
    names.add(pipeline.label);
    return setPipeline.call(this, pipeline);
  };
  try {
    await f();
  } finally {
    pass.setPipeline = setPipeline;
  }
  return [...names];
}

/** The buffers of a device, from now on: those that are there, and how many were made. `end` takes the counters off again. */
export type BufferCount = {
  readonly buffers: () => number;
  readonly bytes: () => number;
  readonly made: () => number;
  /** The most bytes that were there at once since `watch`. */
  readonly most: () => number;
  readonly watch: () => void;
  readonly end: () => void;
};

/** Counts what the device itself is asked for, whoever asks. */
export function countBuffers(device: GPUDevice): BufferCount {
  const live = new Set<GPUBuffer>();
  let made = 0;
  let bytes = 0;
  let most = 0;
  const create = device.createBuffer;
  device.createBuffer = (descriptor) => {
    const buffer = create.call(device, descriptor);
    made++;
    live.add(buffer);
    bytes += descriptor.size;
    most = Math.max(most, bytes);
    const { destroy } = buffer;
    buffer.destroy = () => {
      if (live.delete(buffer)) bytes -= descriptor.size;
      return destroy.call(buffer);
    };
    return buffer;
  };
  return {
    buffers: () => live.size,
    bytes: () => bytes,
    made: () => made,
    most: () => most,
    watch: () => {
      most = bytes;
    },
    end: () => {
      device.createBuffer = create;
    },
  };
}
