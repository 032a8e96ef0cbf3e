import * as tf from '@tensorflow/tfjs-core';
import { linear, type Matrix, matrixStore } from '../../kernels/index.ts';
import { gpuDevice, trimBufferPool } from '../device-webgpu.ts';

/** What the device reached in this run at the two things that bound an op. */
export type Peaks = {
  /** GFLOP/s of the fastest square float32 product, its side, and whose it was. */
  readonly gflops: number;
  readonly side: number;
  readonly by: 'TF.js' | 'this package';
  /** GB/s of a large copy, bytes read and bytes written both counted. */
  readonly gbPerSecond: number;
};

const SIDES = [256, 512, 1024, 2048, 4096];
const ENOUGH = 100; // milliseconds: a larger product would tell nothing new, and take eight times as long
const REPEATS = 4;
const ROUNDS = 3; // the best counts: a ceiling is what was reached once

/** Measures both on the current backend: a second or two. */
export async function measurePeaks(): Promise<Peaks> {
  const best = await matmulCeiling();
  const gbPerSecond = await copyBandwidth();
  trimBufferPool();
  return { ...best, gbPerSecond };
}

export async function matmulCeiling(): Promise<Omit<Peaks, 'gbPerSecond'>> {
  let best: Omit<Peaks, 'gbPerSecond'> = { gflops: 0, side: 0, by: 'TF.js' };
  for (const side of SIDES) {
    const x = tf.randomUniform<tf.Rank.R2>([side, side]);
    const values = (await x.data()) as Float32Array;
    const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    const weight: Matrix = matrixStore().float32({ bytes, dtype: 'F32', outSize: side, inSize: side });
    const candidates = {
      'TF.js': () => tf.matMul(x, x),
      'this package': () => linear({ x, weight, bias: null, lora: [] }),
    } as const;
    let longest = 0;
    for (const [by, run] of Object.entries(candidates) as [Peaks['by'], () => tf.Tensor][]) {
      const ms = await timed(run);
      longest = Math.max(longest, ms);
      const gflops = (2 * side ** 3) / ms / 1e6;
      if (gflops > best.gflops) best = { gflops, side, by };
    }
    x.dispose();
    weight.dispose();
    if (longest > ENOUGH) break;
  }
  return best;
}

/** Milliseconds of one run, of several that are waited for once, in the best round. */
async function timed(run: () => tf.Tensor): Promise<number> {
  const several = async (count: number) => {
    const results = Array.from({ length: count }, run);
    const one = tf.tidy(() => tf.slice(tf.reshape(results[count - 1], [-1]), [0], [1]));
    await one.data();
    tf.dispose([one, ...results]);
  };
  await several(1); // compiles
  let best = Number.POSITIVE_INFINITY;
  for (let round = 0; round < ROUNDS; round++) {
    const began = performance.now();
    await several(REPEATS);
    best = Math.min(best, (performance.now() - began) / REPEATS);
  }
  return best;
}

const COPIED = 2 ** 26;

export async function copyBandwidth(): Promise<number> {
  const device = tf.getBackend() === 'webgpu' ? gpuDevice() : null;
  const copy = device ? gpuCopy(device) : tf.getBackend() === 'tensorflow' ? tensorCopy() : hostCopy();
  try {
    await copy.run(); // memory is really there only once it was written
    const began = performance.now();
    await copy.run();
    return (2 * REPEATS * copy.bytes) / (performance.now() - began) / 1e6;
  } finally {
    copy.dispose();
  }
}

type Copy = { readonly bytes: number; run(): Promise<void>; dispose(): void };

function gpuCopy(device: GPUDevice): Copy {
  const bytes = Math.min(4 * COPIED, 4 * Math.floor(device.limits.maxBufferSize / 4));
  const usage = GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
  const [from, to] = [0, 1].map(() => device.createBuffer({ size: bytes, usage }));
  return {
    bytes,
    run: async () => {
      const encoder = device.createCommandEncoder();
      for (let i = 0; i < REPEATS; i++) encoder.copyBufferToBuffer(from, 0, to, 0, bytes);
      device.queue.submit([encoder.finish()]);
      await device.queue.onSubmittedWorkDone();
    },
    dispose: () => {
      from.destroy();
      to.destroy();
    },
  };
}

/** An op that only reads and writes: TensorFlow's memory may be a GPU's. */
function tensorCopy(): Copy {
  const x = tf.ones([COPIED / 4]);
  return {
    bytes: COPIED,
    run: async () => {
      for (let i = 0; i < REPEATS; i++) {
        const y = tf.neg(x);
        const one = tf.tidy(() => tf.slice(y, [0], [1]));
        await one.data();
        tf.dispose([y, one]);
      }
    },
    dispose: () => x.dispose(),
  };
}

function hostCopy(): Copy {
  const [from, to] = [new Uint8Array(COPIED).fill(1), new Uint8Array(COPIED)];
  return {
    bytes: COPIED,
    run: async () => {
      for (let i = 0; i < REPEATS; i++) to.set(from);
    },
    dispose: () => {},
  };
}
