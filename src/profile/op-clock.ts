import * as tf from '@tensorflow/tfjs-core';
import { gpuDevice, gpuIdle } from '../device-webgpu.ts';
import { DeviceError } from '../errors.ts';

/** Measures pieces of work that follow each other, and do not overlap. */
export type OpClock = {
  readonly kind: 'timestamp queries' | 'wall time';
  /** What is computed from here on belongs to this piece; null: to none. */
  enter(piece: number | null): void;
  /** Milliseconds by piece; `none`: of all that belonged to none, where that is known. Ends the clock. */
  stop(): Promise<{ readonly ms: ReadonlyMap<number, number>; readonly none: number | null }>;
};

/** The clock for the current backend: the GPU's own on WebGPU, the machine's elsewhere, where an op has computed when it returns. */
export const startClock = (): Promise<OpClock> =>
  tf.getBackend() === 'webgpu' ? gpuClock() : Promise.resolve(wallClock());

function wallClock(): OpClock {
  const ms = new Map<number, number>();
  let current: number | null = null;
  let since = 0;
  const enter = (piece: number | null) => {
    const now = performance.now();
    if (current !== null) ms.set(current, (ms.get(current) ?? 0) + now - since);
    current = piece;
    since = now;
  };
  return {
    kind: 'wall time',
    enter,
    stop: async () => {
      enter(null);
      return { ms, none: null };
    },
  };
}

const QUERIES = 4096; // the most that a set may have
const BYTES = 8; // of a time, in nanoseconds

type Backend = { ensureCommandEncoderReady(): void; endComputePassEncoder(): void };

/**
 * Every piece gets compute passes of its own, with the time at begin and end of each: TF.js, and our shaders in its encoder,
 * open passes only through `beginComputePass`. Passes do not overlap on the GPU, so a pass by the side costs a little.
 */
async function gpuClock(): Promise<OpClock> {
  const device = gpuDevice();
  if (!device?.features.has('timestamp-query')) {
    throw new DeviceError(
      'this GPU has no timestamp queries, so its ops cannot be timed; profile on wasm instead',
    );
  }
  await gpuIdle(); // also begins a new encoder
  const backend = tf.backend() as unknown as Backend;
  const sets: GPUQuerySet[] = [];
  const passes: (number | null)[] = []; // the piece of each
  let current: number | null = null;
  const timed = (): GPUComputePassTimestampWrites => {
    const at = (2 * passes.length) % QUERIES;
    if (at === 0) sets.push(device.createQuerySet({ type: 'timestamp', count: QUERIES }));
    passes.push(current);
    return { querySet: sets[sets.length - 1], beginningOfPassWriteIndex: at, endOfPassWriteIndex: at + 1 };
  };
  const create = device.createCommandEncoder;
  device.createCommandEncoder = (descriptor) => {
    const encoder = create.call(device, descriptor);
    const begin = encoder.beginComputePass;
    encoder.beginComputePass = (pass) => begin.call(encoder, { ...pass, timestampWrites: timed() });
    return encoder;
  };
  return {
    kind: 'timestamp queries',
    enter: (piece) => {
      backend.endComputePassEncoder();
      current = piece;
    },
    stop: async () => {
      backend.endComputePassEncoder();
      device.createCommandEncoder = create;
      await gpuIdle();
      const ms = new Map<number, number>();
      let none = 0;
      for (const [s, set] of sets.entries()) {
        const own = passes.slice((s * QUERIES) / 2, ((s + 1) * QUERIES) / 2);
        const times = await readTimes(device, set, 2 * own.length);
        own.forEach((piece, i) => {
          const took = Number(times[2 * i + 1] - times[2 * i]) / 1e6;
          if (piece === null) none += took;
          else ms.set(piece, (ms.get(piece) ?? 0) + took);
        });
        set.destroy();
      }
      return { ms, none };
    },
  };
}

async function readTimes(device: GPUDevice, set: GPUQuerySet, count: number): Promise<BigInt64Array> {
  const size = count * BYTES;
  const { QUERY_RESOLVE, COPY_SRC, COPY_DST, MAP_READ } = GPUBufferUsage;
  const resolved = device.createBuffer({ size, usage: QUERY_RESOLVE | COPY_SRC });
  const read = device.createBuffer({ size, usage: COPY_DST | MAP_READ });
  const encoder = device.createCommandEncoder();
  encoder.resolveQuerySet(set, 0, count, resolved, 0);
  encoder.copyBufferToBuffer(resolved, 0, read, 0, size);
  device.queue.submit([encoder.finish()]);
  await read.mapAsync(GPUMapMode.READ);
  const times = new BigInt64Array(read.getMappedRange().slice(0));
  for (const buffer of [resolved, read]) buffer.destroy();
  return times;
}
