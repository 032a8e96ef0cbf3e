/** float32 → bfloat16 bits, rounded to nearest, ties to even; a NaN stays a NaN.   [n] → [n] */
export function narrowToBf16(values: Float32Array): Uint16Array {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const out = new Uint16Array(values.length);
  for (let i = 0; i < bits.length; i++) {
    const u = bits[i];
    const nan = (u & 0x7fffffff) > 0x7f800000;
    // A NaN whose payload lies in the lower half only would round to infinity: set its quiet bit instead.
    out[i] = nan ? (u >>> 16) | 0x40 : (u + 0x7fff + ((u >>> 16) & 1)) >>> 16;
  }
  return out;
}

/** float32 → IEEE half bits, rounded to nearest, ties to even; beyond ±65504 (after rounding) infinity.   [n] → [n] */
export function narrowToF16(values: Float32Array): Uint16Array {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const out = new Uint16Array(values.length);
  for (let i = 0; i < bits.length; i++) out[i] = halfBits(bits[i]);
  return out;
}

function halfBits(u: number): number {
  const sign = (u >>> 16) & 0x8000;
  const magnitude = u & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00 | ((magnitude >>> 13) & 0x3ff); // NaN
  if (magnitude >= 0x47800000) return sign | 0x7c00; // 2^16 and more, infinity
  if (magnitude >= 0x38800000) {
    // Normal half, 2^-14 and more: rebias the exponent, round the 13 bits that go. A carry moves into the exponent, as it should.
    const rebiased = magnitude - 0x38000000;
    return sign | ((rebiased + 0xfff + ((rebiased >>> 13) & 1)) >>> 13);
  }
  if (magnitude < 0x33000000) return sign; // below 2^-25, zero
  // Subnormal half: count units of 2^-24.
  const shift = 126 - (magnitude >>> 23);
  const mantissa = (magnitude & 0x7fffff) | 0x800000;
  const units = mantissa >>> shift;
  const rest = mantissa & ((1 << shift) - 1);
  const half = 1 << (shift - 1);
  return sign | (rest > half || (rest === half && (units & 1) === 1) ? units + 1 : units);
}
