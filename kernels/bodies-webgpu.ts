import { webgpuAttention, webgpuJoinedAttention } from './attention/attention.webgpu.ts';
import { webgpuGated, webgpuHeads } from './fan/fan.webgpu.ts';
import { fits } from './fan/fits.ts';
import { webgpuNormLow } from './fan/norm-low.webgpu.ts';
import { webgpuLinear } from './linear/linear.webgpu.ts';
import { registerMatrixStore } from './linear/matrix-store.ts';
import { webgpuStore } from './linear/webgpu-store.ts';
import { webgpuL2Normalize, webgpuMeanPool } from './pool/pool.webgpu.ts';
import { registerBody, registerFusion } from './registry.ts';
import { webgpuRmsNorm } from './rms-norm/rms-norm.webgpu.ts';
import { webgpuRope } from './rope/rope.webgpu.ts';
import { webgpuSwiglu } from './swiglu/swiglu.webgpu.ts';
import { webgpuBackend } from './webgpu/backend.ts';

/** Gives the WebGPU backend, which must be the current one, its own bodies and store. Idempotent. */
export function registerWebgpuBodies(): void {
  const { device } = webgpuBackend();
  registerBody('Linear', 'webgpu', webgpuLinear);
  registerBody('Attention', 'webgpu', webgpuAttention);
  registerBody('JoinedAttention', 'webgpu', webgpuJoinedAttention);
  registerBody('NormLow', 'webgpu', webgpuNormLow);
  registerBody('Heads', 'webgpu', webgpuHeads);
  registerBody('Gated', 'webgpu', webgpuGated);
  registerFusion('Fan', 'webgpu', fits);
  registerBody('RmsNorm', 'webgpu', webgpuRmsNorm);
  registerBody('Rope', 'webgpu', webgpuRope);
  registerBody('Swiglu', 'webgpu', webgpuSwiglu);
  registerBody('MeanPool', 'webgpu', webgpuMeanPool);
  registerBody('L2Normalize', 'webgpu', webgpuL2Normalize);
  registerMatrixStore('webgpu', webgpuStore(device.limits.maxStorageBufferBindingSize));
}
