/** Whose fixed-point weights: torchvision's (the published model's processor) or Pillow's (transformers' slow one). */
export type ResampleVariant = 'torchvision' | 'pillow';

/** The weights of one separable pass: output i = Σ_j weights[i·stride + j] · input[first[i] + j] / 2^precision. */
export type Taps = {
  readonly first: Int32Array; //   [nOut]
  readonly count: Int32Array; //   [nOut]
  readonly weights: Int32Array; // [nOut · stride], fixed point
  readonly stride: number;
  /** Fractional bits of the weights. */
  readonly precision: number;
};

const PILLOW_PRECISION = 22; // 32 bits − 8 bits of pixel − 2 bits of head room

/**
 * Fixed-point taps for resizing a line of `nIn` pixels to `nOut`.
 * (Pillow: src/libImaging/Resample.c, precompute_coeffs and normalize_coeffs_8bpc;
 *  ATen: native/cpu/UpSampleKernel.cpp, HelperInterpBase::_compute_index_ranges_int16_weights)
 */
export function bicubicTaps(nIn: number, nOut: number, variant: ResampleVariant): Taps {
  const { first, count, weights, stride } = bicubicWeights(nIn, nOut);
  const precision = variant === 'pillow' ? PILLOW_PRECISION : int16Precision(weights);
  const unit = 2 ** precision;
  const fixed = Int32Array.from(weights, (w) => Math.trunc(w * unit + (w < 0 ? -0.5 : 0.5)));
  return { first, count, weights: fixed, stride, precision };
}

/**
 * The same taps as real numbers, each row summing to 1. When shrinking, the kernel is stretched by the scale, so that
 * every input pixel counts (antialiasing). The order of the float64 operations is the reference's.
 */
export function bicubicWeights(nIn: number, nOut: number) {
  const scale = nIn / nOut;
  const stretch = Math.max(scale, 1);
  const support = 2 * stretch;
  const inverse = 1 / stretch;
  const stride = Math.ceil(support) * 2 + 1;
  const first = new Int32Array(nOut);
  const count = new Int32Array(nOut);
  const weights = new Float64Array(nOut * stride);
  for (let i = 0; i < nOut; i++) {
    const center = scale * (i + 0.5);
    const low = Math.max(Math.trunc(center - support + 0.5), 0);
    const high = Math.min(Math.trunc(center + support + 0.5), nIn);
    const taps = Math.min(high - low, stride);
    const row = weights.subarray(i * stride, i * stride + taps);
    let sum = 0;
    for (let j = 0; j < taps; j++) {
      row[j] = bicubic((j + low - center + 0.5) * inverse);
      sum += row[j];
    }
    for (let j = 0; j < taps; j++) row[j] /= sum;
    first[i] = low;
    count[i] = taps;
  }
  return { first, count, weights, stride };
}

/** Keys' cubic convolution kernel with a = −0.5 ("Cubic convolution interpolation for digital image processing", 1981). */
function bicubic(x: number): number {
  x = Math.abs(x);
  if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * -0.5;
  return 0;
}

/** The most fractional bits, up to 22, with which the largest weight still fits in an int16. */
function int16Precision(weights: Float64Array): number {
  const largest = weights.reduce((a, b) => Math.max(a, b), 0);
  let precision = 0;
  while (precision < 22 && Math.trunc(0.5 + largest * 2 ** (precision + 1)) < 2 ** 15) precision++;
  return precision;
}
