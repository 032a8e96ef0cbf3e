import { webgpuLinear } from './linear/linear.webgpu.ts';
import { registerMatrixStore } from './linear/matrix-store.ts';
import { webgpuStore } from './linear/webgpu-store.ts';
import { registerBody } from './registry.ts';
import { webgpuBackend } from './webgpu/backend.ts';

/** Gives the WebGPU backend, which must be the current one, its own bodies and store. Idempotent. */
export function registerWebgpuBodies(): void {
  const { device } = webgpuBackend();
  registerBody('Linear', 'webgpu', webgpuLinear);
  registerMatrixStore('webgpu', webgpuStore(device.limits.maxStorageBufferBindingSize));
}
