import { execFileSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { cpus } from 'node:os';
import type { Engine, EngineReport } from '../device-engine.ts';
import { DeviceError } from '../errors.ts';

const PACKAGES = ['@tensorflow/tfjs-node-gpu', '@tensorflow/tfjs-node'] as const;

/** Native TensorFlow through tfjs-node-gpu (CUDA) or tfjs-node (CPU), whichever is installed and loads. */
export function tensorflowEngine(): Engine {
  let report: Promise<EngineReport> | null = null;
  const look = () => {
    report ??= open();
    return report;
  };
  return {
    name: 'tensorflow',
    probe: look,
    start: async () => {
      const report = await look();
      if (!report.available) throw new DeviceError(report.detail);
      return report;
    },
  };
}

/** Loading the binding is the only sure sign that it works, so looking and starting are one. */
async function open(): Promise<EngineReport> {
  const require = createRequire(import.meta.url);
  const failures: string[] = [];
  restoreUtilFunctions(require);
  process.env.TF_CPP_MIN_LOG_LEVEL ??= '2'; // TensorFlow prints its build flags to stderr otherwise
  process.env.NVIDIA_TF32_OVERRIDE ??= '0'; // cuBLAS would round float32 to 10 bits on GPUs since Ampere
  for (const name of PACKAGES) {
    try {
      require.resolve(name);
    } catch {
      continue; // not installed: an optional package
    }
    try {
      return describe(name, require, await load(name, require));
    } catch (error) {
      failures.push(`${name} is installed but does not load (${(error as Error).message.split('\n')[0]})`);
    }
  }
  const why = failures.length ? failures.join('; ') : 'neither tfjs-node-gpu nor tfjs-node is installed';
  return {
    available: false,
    detail: `${why}; "npm run native" installs the native CPU engine`,
    hardware: 'cpu',
  };
}

type TensorflowBackend = {
  readonly isUsingGpuDevice: boolean;
  readonly binding: { readonly TF_Version: string };
};

/** Loads the package. It makes itself the current backend, which a mere look must not do to a running application. */
async function load(name: string, require: NodeJS.Require): Promise<TensorflowBackend> {
  const { engine } = require('@tensorflow/tfjs-core') as typeof import('@tensorflow/tfjs-core');
  const { backendName } = engine();
  require(name);
  const backend = engine().findBackend('tensorflow') as unknown as TensorflowBackend | null;
  if (!backend) throw new Error('it registered no backend');
  if (backendName) await engine().setBackend(backendName);
  return backend;
}

function describe(name: string, require: NodeJS.Require, backend: TensorflowBackend): EngineReport {
  const { version } = require(`${name}/package.json`) as { version: string };
  const found = `${name} ${version} with TensorFlow ${backend.binding.TF_Version}`;
  if (backend.isUsingGpuDevice) {
    const gpu = nvidiaGpu();
    return {
      available: true,
      detail: `${found} on ${gpu?.device ?? 'a CUDA GPU'}`,
      hardware: 'cuda',
      ...gpu,
    };
  }
  const cores = cpus();
  const noGpu = name.endsWith('-gpu') ? ', as no CUDA device answered' : '';
  return {
    available: true,
    detail: `${found} on ${cores.length} CPU cores${noGpu}`,
    hardware: 'cpu',
    device: cores[0]?.model,
    threads: cores.length,
  };
}

/** Name and memory of the first NVIDIA GPU, which TensorFlow's C API does not tell. */
function nvidiaGpu(): { readonly device: string; readonly memory: number } | undefined {
  const query = ['--query-gpu=name,memory.total', '--format=csv,noheader,nounits'];
  try {
    const answer = execFileSync('nvidia-smi', query, { encoding: 'utf8', timeout: 5000, stdio: 'pipe' });
    const [, device, mebibytes] = /^(.+), *(\d+)/.exec(answer) ?? [];
    return device ? { device, memory: Number(mebibytes) * 2 ** 20 } : undefined;
  } catch {
    return undefined; // no such program in many containers
  }
}

// tfjs-node 4.22 calls two functions that Node 23 removed from util. They can be put back on the CommonJS object only.
function restoreUtilFunctions(require: NodeJS.Require): void {
  const util = require('node:util') as Record<string, unknown>;
  util.isNullOrUndefined ??= (v: unknown) => v === null || v === undefined;
  util.isArray ??= Array.isArray;
}
