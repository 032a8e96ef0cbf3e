import type { OutputPrecision } from '../config.ts';

/** One vector in the precision asked for. `float16` comes as its 16-bit patterns; binary forms are packed bits. */
export type Vector = Float32Array | Uint16Array | Int8Array | Uint8Array;

/** A quantised vector and the factor that gives back the original: x ≈ scale · (q − zero). */
export type Quantized = { readonly values: Vector; readonly scale: number; readonly zero: number };

/**
 * float32 → the precision of the result. Each vector is scaled by its own largest value, so that an embedding never
 * depends on the others in the call; cosine similarity does not see the scale. Binary: one bit a dimension, set where
 * the value is positive, first dimension in the highest bit (`binary` is `ubinary` − 128, as in sentence-transformers).
 */
export function quantize(x: Float32Array, precision: OutputPrecision): Quantized {
  switch (precision) {
    case 'float32':
      return { values: x, scale: 1, zero: 0 };
    case 'float16':
      return { values: Uint16Array.from(x, toFloat16), scale: 1, zero: 0 };
    case 'int8':
    case 'uint8': {
      const largest = x.reduce((m, v) => Math.max(m, Math.abs(v)), 0);
      const scale = largest === 0 ? 1 : largest / 127;
      const zero = precision === 'int8' ? 0 : 128;
      const levels = Array.from(x, (v) => Math.round(v / scale) + zero);
      return { values: precision === 'int8' ? Int8Array.from(levels) : Uint8Array.from(levels), scale, zero };
    }
    case 'binary':
    case 'ubinary': {
      const bytes = new Uint8Array(Math.ceil(x.length / 8));
      x.forEach((v, i) => {
        if (v > 0) bytes[i >> 3] |= 0x80 >> (i & 7);
      });
      return {
        values: precision === 'ubinary' ? bytes : Int8Array.from(bytes, (b) => b - 128),
        scale: 1,
        zero: 0,
      };
    }
  }
}

const bits = new DataView(new ArrayBuffer(4));

/** IEEE 754 binary16 pattern of a float32, rounded to nearest even. */
export function toFloat16(value: number): number {
  bits.setFloat32(0, value);
  const word = bits.getUint32(0);
  const sign = (word >>> 16) & 0x8000;
  const magnitude = Math.abs(value);
  if (Number.isNaN(value)) return sign | 0x7e00;
  if (magnitude >= 65520) return sign | 0x7c00;
  if (magnitude < 2 ** -14) return sign | roundEven(magnitude * 2 ** 24); // subnormal: steps of 2⁻²⁴
  const exponent = Math.floor(Math.log2(magnitude));
  const power = magnitude < 2 ** exponent ? exponent - 1 : exponent; // log2 may round up to the next power
  return sign | (((power + 15) << 10) + roundEven((magnitude / 2 ** power - 1) * 1024));
}

function roundEven(x: number): number {
  const down = Math.floor(x);
  const rest = x - down;
  return rest > 0.5 || (rest === 0.5 && down % 2 === 1) ? down + 1 : down;
}

/** The number that a binary16 pattern stands for. */
export function fromFloat16(pattern: number): number {
  const sign = pattern & 0x8000 ? -1 : 1;
  const exponent = (pattern >> 10) & 31;
  const fraction = pattern & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
