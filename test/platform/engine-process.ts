import os from 'node:os';
import * as tf from '@tensorflow/tfjs-core';
import { DeviceManager } from '../../src/device.ts';
import type { BackendName, EngineReport } from '../../src/device-engine.ts';
import { gpuIdle, takeGpuErrors, trimBufferPool } from '../../src/device-webgpu.ts';
import { nodeEngines } from '../../src/platform/engines-node.ts';
import { gaussian } from '../support/close.ts';

// One engine in a process of its own: node --import tsx test/platform/engine-process.ts '{"run": "matmul", "device": "wasm"}'
// Prints one line of JSON, then has nothing left to do: the test looks whether the process ends by itself.

export type EngineJob = {
  readonly run: 'probe' | 'matmul' | 'gpu errors' | 'gpu loss' | 'buffer pool';
  readonly device: BackendName;
  readonly threads?: number;
};

export type EngineAnswer = {
  readonly report?: EngineReport;
  readonly values?: readonly number[];
  readonly cores?: readonly [before: number, after: number];
  readonly gpuErrors?: readonly string[];
  /** Bytes that the GPU holds, in use or not. */
  readonly allocated?: readonly number[];
  readonly error?: string;
};

export const SHAPE = { rows: 96, inner: 257, columns: 128 } as const;
export const LEFT = gaussian(SHAPE.rows * SHAPE.inner, 1);
export const RIGHT = gaussian(SHAPE.inner * SHAPE.columns, 2);

async function multiply(): Promise<number[]> {
  const y = tf.tidy(() =>
    tf.matMul(tf.tensor2d(LEFT, [SHAPE.rows, SHAPE.inner]), tf.tensor2d(RIGHT, [SHAPE.inner, SHAPE.columns])),
  );
  const values = [...(await y.data())];
  y.dispose();
  return values;
}

async function start({ device, threads }: EngineJob): Promise<EngineReport> {
  const manager = new DeviceManager(nodeEngines());
  return manager.start(await manager.select({ device }), { threads });
}

const gpuDevice = (): GPUDevice => (tf.backend() as unknown as { device: GPUDevice }).device;

const allocated = (): number =>
  (tf.memory() as unknown as { numBytesAllocatedInGPU: number }).numBytesAllocatedInGPU;

const RUNS: Readonly<Record<EngineJob['run'], (job: EngineJob) => Promise<EngineAnswer>>> = {
  probe: async ({ device }) => ({
    report: await nodeEngines()
      .find((e) => e.name === device)
      ?.probe(),
  }),

  matmul: async (job) => {
    const before = os.cpus().length;
    const report = await start(job);
    return {
      report,
      cores: [before, os.cpus().length],
      values: await multiply(),
      gpuErrors: takeGpuErrors(),
    };
  },

  'gpu errors': async (job) => {
    await start(job);
    gpuDevice().createShaderModule({ code: 'fn main( {' });
    await gpuIdle();
    const gpuErrors = [...takeGpuErrors()];
    return { gpuErrors: [...gpuErrors, `then ${takeGpuErrors().length}`] };
  },

  'gpu loss': async (job) => {
    await start(job);
    const lost = gpuDevice();
    lost.destroy();
    await lost.lost;
    await start(job);
    return { gpuErrors: takeGpuErrors(), values: await multiply() };
  },

  'buffer pool': async (job) => {
    await start(job);
    for (let length = 1; length <= 10; length++) {
      tf.tidy(() => {
        tf.add(tf.ones([length, 4096]), 1); // recorded, perhaps not yet submitted
      });
    }
    const before = allocated();
    trimBufferPool();
    const after = allocated();
    return { allocated: [before, after], values: await multiply(), gpuErrors: takeGpuErrors() };
  },
};

if (process.argv[2]) {
  const job = JSON.parse(process.argv[2]) as EngineJob;
  const answer = await RUNS[job.run](job).catch((error): EngineAnswer => ({ error: String(error) }));
  console.log(JSON.stringify(answer));
}
