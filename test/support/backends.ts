import * as tf from '@tensorflow/tfjs-core';
import { afterEach, beforeAll, describe, expect } from 'vitest';
import { DeviceManager } from '../../src/device.ts';
import type { BackendName } from '../../src/device-engine.ts';
import { gpuIdle, takeGpuErrors } from '../../src/device-webgpu.ts';
import { nodeEngines } from '../../src/platform/engines-node.ts';

const engines = nodeEngines();
// cpu and wasm are always there. The others join where their packages and drivers are, and are named loudly where not.
const named = process.env.TEST_BACKENDS?.split(',') as BackendName[] | undefined;
const wanted = named ?? ['cpu', 'wasm', 'tensorflow', 'webgpu'];
const reports = await Promise.all(
  engines.map(async (engine) => ({ name: engine.name, report: await engine.probe() })),
);

/** Backends that this machine can run, each of which every parity test runs on. */
export const BACKENDS: readonly BackendName[] = wanted.filter((name) => {
  const report = reports.find((r) => r.name === name)?.report;
  if (!report?.available) {
    console.warn(`NOT RUN on backend "${name}": ${report?.detail ?? 'no engine'}`);
    return false;
  }
  if (report.hardware === 'software' && !named) {
    // As in the library, an emulated GPU computes only when it is asked for: it takes minutes.
    console.warn(
      `NOT RUN on backend "${name}": ${report.detail}; TEST_BACKENDS=${name} runs it all the same`,
    );
    return false;
  }
  return true;
});

/** Backends that need half a minute for the larger images: plain JavaScript, and a GPU that is emulated on the CPU. */
export const isSlow = (backend: BackendName): boolean =>
  backend === 'cpu' || reports.find((r) => r.name === backend)?.report.hardware === 'software';

// Up to 91 s a case on SwiftShader, with other work on the same two cores.
const SLOW_TIMEOUT = 300_000;

/**
 * Runs a suite once per backend: all there are, or those of `backends`, which is skipped where it is not there. An error on
 * the GPU fails the case: its result may be zeros, and close to the truth.
 */
export function onEveryBackend(suite: (backend: BackendName) => void, backends = BACKENDS): void {
  for (const backend of backends) {
    const options = isSlow(backend) ? { timeout: SLOW_TIMEOUT } : {};
    describe.skipIf(!BACKENDS.includes(backend))(`on ${backend}`, options, () => {
      beforeAll(() => startBackend(backend));
      afterEach(async () => {
        await gpuIdle();
        expect(takeGpuErrors()).toEqual([]);
      });
      suite(backend);
    });
  }
}

export async function startBackend(backend: BackendName): Promise<void> {
  const manager = new DeviceManager(engines);
  await manager.start(await manager.select({ device: backend }));
}

/** Runs `f` and fails when it leaves tensors behind, beyond what it returns. */
export async function expectNoLeak<T>(f: () => T | Promise<T>, kept = 0): Promise<T> {
  const before = tf.memory().numTensors;
  const result = await f();
  const left = tf.memory().numTensors - before - kept;
  if (left !== 0) throw new Error(`${left} tensors left behind`);
  return result;
}
