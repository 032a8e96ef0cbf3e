import * as tf from '@tensorflow/tfjs-core';
import { type KernelSettings, useKernels } from '../kernels/product-settings.ts';
import {
  gpuDevice,
  gpuIdle,
  gpuLosses,
  KEPT_BYTES,
  noteGpuError,
  takeGpuErrors,
  trimBufferPool,
} from './device-webgpu.ts';
import { DeviceError, DeviceLostError } from './errors.ts';
import { Turns } from './turns.ts';

// WebGPU does not throw: what it cannot compute is zeros, and the error comes later, to the device as a whole. Here it finds
// the call that it belongs to.

const turns = new Turns();

/** Which GPU device computes: the number of those that were lost before it. Null on other backends, which are not lost. */
export const gpuLife = (): number | null => (tf.getBackend() === 'webgpu' ? gpuLosses().length : null);

/** Whether the device of that life is gone, and what it held with it. */
export const gpuGone = (life: number | null): boolean => life !== null && life !== gpuLosses().length;

/**
 * Runs a call that computes, and is done when the GPU is. Calls on one device wait for each other: its errors do not say whose
 * they are. Not to be nested. On TensorFlow, too, calls take turns, as each has its `kernels`; elsewhere it only runs `f`.
 * `kernels`: how products are computed; without them, in float32.
 * @throws DeviceError when the GPU refused anything meanwhile: the result may be zeros
 * @throws DeviceLostError when the device was lost meanwhile
 */
export function gpuCall<T>(
  call: string,
  f: () => Promise<T>,
  kernels: Partial<KernelSettings> = {},
): Promise<T> {
  if (tf.getBackend() === 'tensorflow') return turns.take(() => withKernels(kernels, f));
  if (tf.getBackend() !== 'webgpu') return f();
  return turns.take(async () => {
    const others = takeGpuErrors(); // from before: of nobody's call
    const losses = gpuLosses().length;
    const before = useKernels(kernels);
    try {
      const outcome = await f().then(
        (result) => ({ result }),
        (error: unknown) => ({ error }),
      );
      await gpuIdle();
      trimBufferPool(KEPT_BYTES);
      checkLosses(call, losses);
      if ('error' in outcome) throw outcome.error;
      checkErrors(call, takeGpuErrors());
      return outcome.result;
    } finally {
      useKernels(before);
      takeGpuErrors();
      for (const message of others) noteGpuError(message);
    }
  });
}

async function withKernels<T>(kernels: Partial<KernelSettings>, f: () => Promise<T>): Promise<T> {
  const before = useKernels(kernels);
  try {
    return await f();
  } finally {
    useKernels(before);
  }
}

/** Checks what is made in several steps, with time between them in which other calls may run: loading. */
export type GpuWatch = {
  /** Runs a step that does not wait; errors in it are told by `check`, under this name. */
  step<T>(name: string, f: () => T): T;
  /** Resolves when all steps so far are known to have gone well. @throws DeviceError, DeviceLostError */
  check(): Promise<void>;
  /** The last check: also of errors since the beginning that came outside steps and outside calls. They may be this one's. */
  end(): Promise<void>;
};

/** Begins to watch a call of several steps. Without WebGPU there is nothing to see. */
export function watchGpu(call: string): GpuWatch {
  const device = tf.getBackend() === 'webgpu' ? gpuDevice() : null;
  if (!device) return { step: (_, f) => f(), check: async () => {}, end: async () => {} };
  const before = takeGpuErrors();
  for (const message of before) noteGpuError(message);
  const losses = gpuLosses().length;
  let pending: Promise<string | null>[] = [];
  const pop = (name: string) =>
    device.popErrorScope().then(
      (error) => (error ? `${name}: ${error.message}` : null),
      () => null, // the device is lost, which is told as such
    );
  const check = async () => {
    const all = pending;
    pending = [];
    const found = (await Promise.all(all)).filter((message) => message !== null);
    checkLosses(call, losses);
    checkErrors(call, found);
  };
  return {
    step: (name, f) => {
      device.pushErrorScope('out-of-memory');
      device.pushErrorScope('validation');
      try {
        return f();
      } finally {
        pending.push(pop(name), pop(name));
      }
    },
    check,
    end: async () => {
      await check();
      await turns.take(async () => {
        await gpuIdle();
        const noted = takeGpuErrors();
        // Losses are told by checkLosses. Their notes may be older than `before`: a call that ran meanwhile held them back.
        const since = noted.filter((message) => !gpuLosses().includes(message));
        for (const message of noted) if (gpuLosses().includes(message)) noteGpuError(message);
        for (const message of before) {
          const at = since.indexOf(message);
          if (at < 0) continue; // somebody has taken it
          since.splice(at, 1);
          noteGpuError(message);
        }
        checkErrors(call, since);
      });
    },
  };
}

function checkLosses(call: string, before: number): void {
  const [loss] = gpuLosses().slice(before);
  if (loss === undefined) return;
  throw new DeviceLostError(
    `${call}: ${loss} while it ran; call again: a new device is taken and the weights are read again`,
  );
}

function checkErrors(call: string, errors: readonly string[]): void {
  if (errors.length === 0) return;
  throw new DeviceError(
    `${call}: the GPU could not compute this: ${errors.join('; ')}; use smaller batches, or another backend`,
  );
}
