import * as tf from '@tensorflow/tfjs-core';

export type Tolerance = {
  /** Largest error allowed, as a part of the largest expected value. */
  readonly relativeToMax: number;
  readonly what: string;
};

export type Difference = {
  readonly index: number;
  readonly found: number;
  readonly expected: number;
  readonly error: number;
};

/** Where two arrays differ most, with the error as a part of the largest expected value. */
export function worstDifference(found: ArrayLike<number>, expected: ArrayLike<number>): Difference {
  if (found.length !== expected.length)
    throw new Error(`${found.length} values instead of ${expected.length}`);
  let largest = 0;
  for (let i = 0; i < expected.length; i++) largest = Math.max(largest, Math.abs(expected[i]));
  let worst: Difference = { index: 0, found: found[0], expected: expected[0], error: 0 };
  for (let i = 0; i < expected.length; i++) {
    const error = Math.abs(found[i] - expected[i]) / (largest || 1);
    if (!(error <= worst.error)) worst = { index: i, found: found[i], expected: expected[i], error }; // NaN is worst
  }
  return worst;
}

/** Throws with index and both values when the largest error is above the tolerance. Returns the largest error. */
export function expectClose(
  found: ArrayLike<number>,
  expected: ArrayLike<number>,
  { relativeToMax, what }: Tolerance,
): number {
  const worst = worstDifference(found, expected);
  if (!(worst.error <= relativeToMax)) {
    throw new Error(
      `${what}: value ${worst.index} is ${worst.found}, expected ${worst.expected} ` +
        `(error ${worst.error.toExponential(2)} of the largest value, allowed ${relativeToMax})`,
    );
  }
  return worst.error;
}

export async function expectTensorClose(
  found: tf.Tensor,
  expected: tf.Tensor,
  tolerance: Tolerance,
): Promise<number> {
  if (found.shape.join() !== expected.shape.join()) {
    throw new Error(`${tolerance.what}: shape [${found.shape}] instead of [${expected.shape}]`);
  }
  return expectClose(await found.data(), await expected.data(), tolerance);
}

/** Seeded standard-normal values (mulberry32 and Box-Muller): the same on every machine. */
export function gaussian(count: number, seed: number): Float32Array {
  let state = seed >>> 0;
  const uniform = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  return Float32Array.from(
    { length: count },
    () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform()),
  );
}

export const gaussianTensor = (shape: [number, number], seed: number, scale = 1): tf.Tensor2D =>
  tf.tidy(() => tf.mul(tf.tensor2d(gaussian(shape[0] * shape[1], seed), shape), scale));
