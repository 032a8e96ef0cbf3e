import { cpus } from 'node:os';
import * as tf from '@tensorflow/tfjs-core';
import { DeviceManager } from '../src/device.ts';
import type { BackendName } from '../src/device-engine.ts';
import { nodeEngines } from '../src/platform/engines-node.ts';

/** Milliseconds of one thing, over its runs. */
export type Times = { readonly ms: number; readonly best: number };

/** What is known of the engine that computes; goes into every line. */
export type Where = { readonly backend: string; readonly engine: string };

/** Starts a backend by name and says what it is. */
export async function startBackend(device: BackendName | 'auto', threads?: number): Promise<Where> {
  const manager = new DeviceManager(nodeEngines());
  const choice = await manager.select({ device });
  const report = await manager.start(choice, { threads });
  return { backend: choice.backend, engine: report.detail };
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

export const timesOf = (ms: readonly number[]): Times => ({ ms: median(ms), best: Math.min(...ms) });

/**
 * Times candidates in turns, a run of each and then again: whatever else the machine does meets all of them alike, so their
 * ratio holds where their times do not.
 */
export async function inTurns<K extends string>(
  candidates: Readonly<Record<K, () => Promise<unknown>>>,
  { warmUp = 2, runs = 9 }: { warmUp?: number; runs?: number } = {},
): Promise<Record<K, Times>> {
  const names = Object.keys(candidates) as K[];
  const ms = Object.fromEntries(names.map((name) => [name, [] as number[]])) as Record<K, number[]>;
  for (let run = -warmUp; run < runs; run++) {
    for (const name of names) {
      const began = performance.now();
      await candidates[name]();
      if (run >= 0) ms[name].push(performance.now() - began);
    }
  }
  return Object.fromEntries(names.map((name) => [name, timesOf(ms[name])])) as Record<K, Times>;
}

/** Runs `f`, waits until the device has really computed its tensor, and frees it. */
export async function finished(f: () => tf.Tensor | Promise<tf.Tensor>): Promise<void> {
  const result = await f();
  // Native and wasm backends have computed by now. A GPU has only been told: reading one value waits for it.
  if (tf.getBackend() === 'webgpu') {
    const one = tf.tidy(() => tf.slice(tf.reshape(result, [-1]), [0], [1]));
    await one.data();
    one.dispose();
  }
  result.dispose();
}

/** GPU dispatches of each candidate, ours and those of stock ops alike; null where no GPU computes. Frees the results. */
export function dispatchesOf<K extends string>(
  candidates: Readonly<Record<K, () => tf.Tensor>>,
): Record<K, number> | null {
  if (tf.getBackend() !== 'webgpu') return null;
  const pass = GPUComputePassEncoder.prototype;
  const { dispatchWorkgroups } = pass;
  let count = 0;
  pass.dispatchWorkgroups = function (...sizes) {
    count++;
    return dispatchWorkgroups.apply(this, sizes);
  };
  try {
    const counts = Object.entries<() => tf.Tensor>(candidates).map(([name, f]) => {
      count = 0;
      f().dispose();
      return [name, count];
    });
    return Object.fromEntries(counts) as Record<K, number>;
  } finally {
    pass.dispatchWorkgroups = dispatchWorkgroups;
  }
}

/**
 * Cores that other work on this machine keeps busy, looked at for half a second while this process only waits. Above
 * QUIET, ratios to another engine mean nothing: OpenMP (PyTorch, onnxruntime) stalls at every barrier while one of its
 * threads waits for a core, ten times over for small cases, and TensorFlow's pool does not.
 */
export async function busyCores(): Promise<number> {
  const before = cpuTimes();
  await new Promise((resolve) => setTimeout(resolve, 500));
  const after = cpuTimes();
  return (cpus().length * (after.busy - before.busy)) / Math.max(1, after.total - before.total);
}

/** Busy cores up to which a run counts as alone on its machine. */
export const QUIET = 0.15;

function cpuTimes(): { busy: number; total: number } {
  const all = cpus().map(({ times }) => times);
  const total = all.reduce((sum, t) => sum + t.user + t.nice + t.sys + t.idle + t.irq, 0);
  return { busy: total - all.reduce((sum, t) => sum + t.idle, 0), total };
}

/** One JSON line: the case first, then the numbers, then where and when. */
export function printLine(line: Readonly<Record<string, unknown>>, where: Where): void {
  const rounded = Object.fromEntries(
    Object.entries(line).map(([key, value]) => [
      key,
      typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(4)) : value,
    ]),
  );
  console.log(JSON.stringify({ ...rounded, ...where, ...machine }));
}

const machine = {
  cpu: cpus()[0]?.model ?? 'unknown',
  cores: cpus().length,
  node: process.versions.node,
  date: new Date().toISOString().slice(0, 10),
};

/** The largest difference, as a part of the largest expected value. Above `allowed` (or NaN) the case is not timed: it throws. */
export function checkClose(
  what: string,
  found: ArrayLike<number>,
  expected: ArrayLike<number>,
  allowed: number,
): number {
  if (found.length !== expected.length)
    throw new Error(`${what}: ${found.length} values instead of ${expected.length}`);
  let largest = 0;
  let worst = 0;
  let at = 0;
  for (let i = 0; i < expected.length; i++) {
    largest = Math.max(largest, Math.abs(expected[i]));
    const difference = Math.abs(found[i] - expected[i]);
    if (!(difference <= worst)) {
      worst = difference;
      at = i;
    }
  }
  const error = worst / (largest || 1);
  if (error <= allowed) return error;
  throw new Error(
    `${what}: wrong, so not timed: value ${at} is ${found[at]}, expected ${expected[at]} ` +
      `(error ${error.toExponential(2)} of the largest value, allowed ${allowed})`,
  );
}
