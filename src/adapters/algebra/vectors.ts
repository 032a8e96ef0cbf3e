/**
 * A thin matrix as a list of its long vectors, in double precision: a LoRA of rank R is R vectors of length in and R of
 * length out, ΔWᵀ = Σ a_r ⊗ b_r [in, out]. Long vectors are contiguous, which is what QR and Jacobi rotations want.
 */
export type Vectors = readonly Float64Array[];

export function dot(x: Float64Array, y: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < x.length; i++) sum += x[i] * y[i];
  return sum;
}

/** y += factor · x */
export function addScaled(y: Float64Array, x: Float64Array, factor: number): void {
  for (let i = 0; i < y.length; i++) y[i] += factor * x[i];
}

export const norm = (x: Float64Array): number => Math.sqrt(dot(x, x));

export const scaled = (x: Float64Array, factor: number): Float64Array => x.map((v) => v * factor);

/** Σ_k coefficients[k] · vectors[k].   vectors: K of length n → n */
export function mixed(vectors: Vectors, coefficients: ArrayLike<number>, length: number): Float64Array {
  const sum = new Float64Array(length);
  for (let k = 0; k < vectors.length; k++)
    if (coefficients[k] !== 0) addScaled(sum, vectors[k], coefficients[k]);
  return sum;
}
