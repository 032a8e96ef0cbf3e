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
