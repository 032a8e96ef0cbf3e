import { createRequire } from 'node:module';
import { cpus } from 'node:os';
import type { Engine, EngineReport } from '../device-engine.ts';
import { DeviceError } from '../errors.ts';

const PACKAGES = ['@tensorflow/tfjs-node-gpu', '@tensorflow/tfjs-node'] as const;

/** Native TensorFlow through tfjs-node-gpu (CUDA) or tfjs-node (CPU), whichever is installed and loads. */
export function tensorflowEngine(): Engine {
  let report: EngineReport | null = null;
  const look = () => {
    report ??= open();
    return report;
  };
  return {
    name: 'tensorflow',
    probe: async () => look(),
    start: async () => {
      if (!look().available) throw new DeviceError(look().detail);
      const { registerTensorflowBodies } = await import('../../kernels/bodies-tensorflow.ts');
      registerTensorflowBodies();
      return look();
    },
  };
}

/** Loading the binding is the only sure sign that it works, so looking and starting are one. */
function open(): EngineReport {
  const require = createRequire(import.meta.url);
  const failures: string[] = [];
  restoreUtilFunctions(require);
  process.env.TF_CPP_MIN_LOG_LEVEL ??= '2'; // TensorFlow prints its build flags to stderr otherwise
  for (const name of PACKAGES) {
    try {
      require.resolve(name);
    } catch {
      continue; // not installed: an optional package
    }
    try {
      const tf = require(name) as {
        backend(): { isUsingGpuDevice?: boolean; isGPUPackage?: boolean };
        setBackend(n: string): boolean;
      };
      tf.setBackend('tensorflow');
      const cuda = tf.backend().isUsingGpuDevice === true;
      const { version } = require(`${name}/package.json`) as { version: string };
      const cores = cpus().length;
      return {
        available: true,
        detail: `${name} ${version} on ${cuda ? 'a CUDA GPU' : `${cores} CPU cores`}`,
        hardware: cuda ? 'cuda' : 'cpu',
        device: cpus()[0]?.model,
        threads: cores,
      };
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

// tfjs-node 4.22 calls two functions that Node 23 removed from util. They can be put back on the CommonJS object only.
function restoreUtilFunctions(require: NodeJS.Require): void {
  const util = require('node:util') as Record<string, unknown>;
  util.isNullOrUndefined ??= (v: unknown) => v === null || v === undefined;
  util.isArray ??= Array.isArray;
}
