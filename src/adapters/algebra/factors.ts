import * as tf from '@tensorflow/tfjs-core';
import type { LoraActivation, LoraTerm, Matrix } from '../../../kernels/index.ts';
import type { Vectors } from './vectors.ts';

/** A LoRA term as plain numbers, the same on every backend.   a: [in, R], b: [R, out], row by row */
export type Factors = {
  readonly a: Float32Array;
  readonly b: Float32Array;
  readonly inSize: number;
  readonly outSize: number;
  readonly rank: number;
  readonly scale: number;
  readonly activation: LoraActivation;
};

export async function readFactors({ a, b, scale, activation }: LoraTerm): Promise<Factors> {
  return {
    a: await readMatrix(a),
    b: await readMatrix(b),
    inSize: a.inSize,
    outSize: b.outSize,
    rank: a.outSize,
    scale,
    activation,
  };
}

async function readMatrix(matrix: Matrix): Promise<Float32Array> {
  const copy = tf.tidy(() => tf.clone(matrix.dense())); // `dense` may lend its own tensor, or make one for this tidy
  try {
    return (await copy.data()) as Float32Array;
  } finally {
    copy.dispose();
  }
}

/** The columns of a: R vectors of length in. */
export const inVectors = ({ a, inSize, rank }: Factors): Vectors =>
  Array.from({ length: rank }, (_, r) => Float64Array.from({ length: inSize }, (_, i) => a[i * rank + r]));

/** The rows of b: R vectors of length out. ΔWᵀ = scale · Σ_r in_r ⊗ out_r. */
export const outVectors = ({ b, outSize, rank }: Factors): Vectors =>
  Array.from({ length: rank }, (_, r) => Float64Array.from(b.subarray(r * outSize, (r + 1) * outSize)));

/** The change itself, scale · a b.   [in, out], row by row */
export function deltaOf(factors: Factors): Float32Array {
  const { a, inSize, outSize, rank, scale } = factors;
  const rows = outVectors(factors);
  const delta = new Float32Array(inSize * outSize);
  const row = new Float64Array(outSize);
  for (let i = 0; i < inSize; i++) {
    row.fill(0);
    for (let r = 0; r < rank; r++) {
      const factor = scale * a[i * rank + r];
      const from = rows[r];
      for (let o = 0; o < outSize; o++) row[o] += factor * from[o];
    }
    delta.set(row, i * outSize);
  }
  return delta;
}
