import { gpuIdle, takeGpuErrors } from '../../src/device-webgpu.ts';
import { DeviceError } from '../../src/errors.ts';

/** For tests below the calls of the API, which look for themselves. @throws DeviceError when the GPU reported errors */
export async function checkGpu(): Promise<void> {
  await gpuIdle();
  const errors = takeGpuErrors();
  if (errors.length > 0) throw new DeviceError(`the GPU could not compute this: ${errors.join('; ')}`);
}
