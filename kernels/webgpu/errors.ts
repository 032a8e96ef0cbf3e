// WebGPU does not throw: a shader that does not compile, or a binding that is too large, computes zeros. Errors come later and
// elsewhere, so they are collected here, and whoever reads results asks for them (src/device-webgpu.ts).

const MOST_ERRORS = 20; // one bad shader fails at every dispatch

let errors: string[] = [];
const checks = new Set<Promise<void>>();

export function noteGpuError(message: string): void {
  if (errors.length < MOST_ERRORS) errors.push(message);
}

/** The errors of the WebGPU device since the last call. Wait for the device first, or some are still on their way. */
export function takeGpuErrors(): readonly string[] {
  const taken = errors;
  errors = [];
  return taken;
}

/** Runs `f`, and notes a validation error in it under the name of what was made. */
export function named<T>(device: GPUDevice, what: string, f: () => T): T {
  device.pushErrorScope('validation');
  try {
    return f();
  } finally {
    const check = device.popErrorScope().then(
      (error) => {
        // The cause arrives after what follows from it, and is told first.
        if (error) errors = [`${what}: ${error.message}`, ...errors].slice(0, MOST_ERRORS);
      },
      () => {}, // the device is lost, which is noted where it is watched
    );
    checks.add(check);
    void check.then(() => checks.delete(check));
  }
}

/** Resolves when everything made so far has been checked. */
export const checksDone = async (): Promise<void> => void (await Promise.all(checks));
