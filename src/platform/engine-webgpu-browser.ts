import type { Engine } from '../device-engine.ts';
import { describeAdapter, startWebGpu } from '../device-webgpu.ts';
import { DeviceError } from '../errors.ts';

/** TF.js on the WebGPU of a page or worker. */
export function webgpuBrowserEngine(): Engine {
  return {
    name: 'webgpu',
    probe: async () => {
      const found = await look();
      if (typeof found !== 'string') return describeAdapter(found);
      return { available: false, detail: found, hardware: 'gpu' };
    },
    start: async ({ software } = {}) => {
      const found = await look();
      if (typeof found === 'string') throw new DeviceError(found);
      return startWebGpu(found, { software });
    },
  };
}

/** The adapter, or why there is none and what to do. */
async function look(): Promise<GPUAdapter | string> {
  const { gpu } = globalThis.navigator;
  if (!gpu) {
    return globalThis.isSecureContext
      ? 'this browser has no WebGPU: use a current Chrome, Edge, Safari or Firefox, or wasm'
      : 'WebGPU needs a secure page: serve it over https or from localhost, or use wasm';
  }
  try {
    const adapter = await gpu.requestAdapter({ powerPreference: 'high-performance' });
    return adapter ?? 'the browser offers no GPU: turn on hardware acceleration in its settings, or use wasm';
  } catch (error) {
    return `the browser could not look for a GPU (${(error as Error).message}); use wasm`;
  }
}
