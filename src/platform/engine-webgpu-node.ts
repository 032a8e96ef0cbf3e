import type { Engine, EngineReport } from '../device-engine.ts';
import { describeAdapter, startWebGpu } from '../device-webgpu.ts';
import { DeviceError } from '../errors.ts';

type Dawn = typeof import('webgpu');

/** TF.js on WebGPU in Node, through Dawn (the `webgpu` package): Vulkan, Metal or Direct3D 12. */
export function webgpuNodeEngine(): Engine {
  return {
    name: 'webgpu',
    probe: async () => {
      const found = await look();
      return found.adapter ? describeAdapter(found.adapter) : unavailable(found.why);
    },
    start: async ({ software } = {}) => {
      const { adapter, why, install } = await look();
      if (!adapter) throw new DeviceError(why);
      install();
      return startWebGpu(adapter, { software });
    },
  };
}

const unavailable = (detail: string): EngineReport => ({ available: false, detail, hardware: 'gpu' });

type Found =
  | { readonly adapter: GPUAdapter; readonly why: ''; readonly install: () => void }
  | { readonly adapter: null; readonly why: string; readonly install?: undefined };

const DRIVER_HINT =
  process.platform === 'linux'
    ? 'install the Vulkan loader and a driver for the GPU (Debian: libvulkan1, and mesa-vulkan-drivers or the vendor’s own); ' +
      'VK_DRIVER_FILES names a driver that lies elsewhere'
    : 'update the graphics driver';

// Kept for the process: Dawn's adapters and devices live only as long as the object that `create` returned.
let dawn: { gpu: GPU; globals: Dawn['globals'] } | null = null;

async function look(): Promise<Found> {
  const none = (why: string): Found => ({ adapter: null, why: `${why}; or use wasm` });
  try {
    if (!dawn && !loaderThere()) return none(`there is no Vulkan on this machine: ${DRIVER_HINT}`);
    dawn ??= await openDawn();
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === 'ERR_MODULE_NOT_FOUND';
    return none(
      missing
        ? 'the optional package "webgpu" is not installed: npm install webgpu'
        : `the package "webgpu" does not load here (${firstLine(error)})`,
    );
  }
  const { gpu, globals } = dawn;
  try {
    const adapter = await gpu.requestAdapter({ powerPreference: 'high-performance' });
    if (!adapter) return none(`Dawn finds no GPU: ${DRIVER_HINT}`);
    return { adapter, why: '', install: () => install(gpu, globals) };
  } catch (error) {
    return none(`Dawn could not look for a GPU (${firstLine(error)}): ${DRIVER_HINT}`);
  }
}

async function openDawn() {
  const { create, globals } = await import('webgpu');
  // Subgroup matrices are still behind the first toggle. The second hides times from web pages: of ours, steps of 0.1 ms would.
  const toggles = ['enable-dawn-features=allow_unsafe_apis', 'disable-dawn-features=timestamp_quantization'];
  return { gpu: create(toggles), globals };
}

/**
 * Whether the system's loader finds Vulkan. Dawn would find out as well, but it prints a warning to stderr, and most
 * machines that run this have no GPU. A library that is no Node addon is found, then refused: the refusal says which.
 */
function loaderThere(): boolean {
  if (process.platform !== 'linux') return true;
  try {
    process.dlopen({ exports: {} }, 'libvulkan.so.1');
  } catch (error) {
    return !/cannot open shared object|no such file/i.test((error as Error).message);
  }
  return true;
}

// TF.js looks for navigator.gpu, and compares with the global classes GPUBuffer and GPUTexture.
function install(gpu: GPU, globals: Dawn['globals']): void {
  Object.assign(globalThis, globals);
  if (globalThis.navigator === undefined) {
    // Node 20 has no navigator. From Node 21 on it is there, and an assignment would throw.
    const userAgent = `Node.js/${process.versions.node.split('.')[0]}`;
    Object.defineProperty(globalThis, 'navigator', {
      value: { userAgent },
      configurable: true,
      writable: true,
    });
  }
  Object.defineProperty(globalThis.navigator, 'gpu', { value: gpu, configurable: true, writable: true });
}

const firstLine = (error: unknown): string => String((error as Error)?.message ?? error).split('\n')[0];
