/** S + λ I = U D Uᵀ with U upper triangular and ones on its diagonal. All [width, width], row by row. */
export type UpperFactor = {
  /** U; zeros below the diagonal. */
  readonly near: Float32Array;
  /** D. */
  readonly diagonal: Float32Array;
  /** (D Uᵀ)⁻¹: turns the part of the whole matrix above S into the part of its U above this one. */
  readonly turn: Float32Array;
};

/** Last column first, in float64. Exactly, no pivot of a Gram matrix is below λ; where rounding puts one there, it is λ.   s: [width, width] */
export function upperFactor(s: Float32Array, damping: number): UpperFactor {
  const width = Math.sqrt(s.length);
  const u = new Float64Array(s.length);
  const d = new Float64Array(width);
  for (let k = width - 1; k >= 0; k--) {
    for (let j = k; j >= 0; j--) {
      let sum = s[j * width + k];
      for (let m = k + 1; m < width; m++) sum -= u[j * width + m] * d[m] * u[k * width + m];
      if (j === k) d[k] = Math.max(sum + damping, damping);
      u[j * width + k] = j === k ? 1 : sum / d[k];
    }
  }
  const turn = new Float32Array(s.length);
  const column = new Float64Array(width); // of U⁻¹
  for (let k = 0; k < width; k++) {
    column.fill(0)[k] = 1;
    for (let j = k - 1; j >= 0; j--) {
      let sum = 0;
      for (let m = j + 1; m <= k; m++) sum -= u[j * width + m] * column[m];
      column[j] = sum;
    }
    for (let j = 0; j <= k; j++) turn[k * width + j] = column[j] / d[j];
  }
  return { near: Float32Array.from(u), diagonal: Float32Array.from(d), turn };
}
