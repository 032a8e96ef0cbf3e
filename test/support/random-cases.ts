import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';

/** Checks random cases. The seed is printed first, also where all goes well: with it a run can be had again. */
export function onRandomCases<T>(
  what: string,
  cases: fc.Arbitrary<T>,
  check: (one: T) => Promise<void>,
  numRuns = 20,
): Promise<void> {
  const seed = Date.now() % 2 ** 31;
  console.log(`${what} on ${tf.getBackend()}: random cases with seed ${seed}`);
  return fc.assert(fc.asyncProperty(cases, check), { numRuns, seed });
}

/** How large values are, and whether a few stand out as in the activations of a trained model. */
export type Spread = { readonly size?: number; readonly outliers?: boolean };

/** Values of this spread: every 37th is 300 times as large where there are outliers. */
export const spread = (values: Float32Array, { size = 1, outliers = false }: Spread): Float32Array =>
  values.map((v, i) => v * size * (outliers && i % 37 === 5 ? 300 : 1));
