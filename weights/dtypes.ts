import { CheckpointError } from '../src/errors.ts';

/** Number formats of a safetensors file that this project reads. All are little-endian. */
export type Dtype = keyof typeof widths;

const widths = {
  F64: 8,
  F32: 4,
  F16: 2,
  BF16: 2,
  I64: 8,
  I32: 4,
  I16: 2,
  I8: 1,
  U8: 1,
  BOOL: 1,
} as const;

/** The names, for messages. */
export const dtypeNames = Object.keys(widths) as readonly Dtype[];

export const isDtype = (word: unknown): word is Dtype =>
  typeof word === 'string' && Object.hasOwn(widths, word);

/** Bytes of one number. */
export const bytesPerElement = (dtype: Dtype): number => widths[dtype];

/** Dtypes that hold a weight as it is. An integer tensor in the place of a weight is quantised: worthless without its scales. */
export const isFloatDtype = (dtype: Dtype): boolean =>
  dtype === 'F32' || dtype === 'F16' || dtype === 'BF16' || dtype === 'F64';

/** Elements of a shape; 1 for a scalar. */
export const elementCount = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

/** Bytes that a tensor takes in a file. */
export const byteLengthOf = (dtype: Dtype, shape: readonly number[]): number =>
  elementCount(shape) * widths[dtype];

// Typed-array views are read in the machine's byte order, the files are little-endian. Every machine that runs
// JavaScript with TF.js is little-endian (WebAssembly and WebGPU require it), so views are used directly.

/**
 * File bytes as float32, written to `target` from element `at`. Exact for F32, F16, BF16 (NaN bits kept), I8, U8, I16
 * and BOOL; F64 is rounded to nearest. I32 and I64 do not fit a float32 and are refused: use `toInt32Array`.
 * `bytes` may start at any address.   [n · bytesPerElement] → [n]
 */
export function widenInto(bytes: Uint8Array, dtype: Dtype, target: Float32Array, at = 0): void {
  switch (dtype) {
    case 'F32':
      new Uint8Array(target.buffer, target.byteOffset + at * 4, bytes.byteLength).set(bytes);
      return;
    case 'BF16':
      widenBf16(uint16View(bytes), target, at);
      return;
    case 'F16':
      widenF16(uint16View(bytes), target, at);
      return;
    case 'F64':
    case 'I16':
    case 'I8':
    case 'U8':
    case 'BOOL':
      target.set(smallNumbers(dtype, bytes), at);
      return;
    default:
      throw new CheckpointError(
        `${dtype} cannot become float32 without loss; read it as integers, or store the tensor as F32, F16 or BF16`,
      );
  }
}

/** File bytes as int32: ids, grids, positions. Floats, and I64 values outside int32, are a `CheckpointError`. */
export function toInt32Array(bytes: Uint8Array, dtype: Dtype): Int32Array {
  if (dtype === 'I32') return new Int32Array(copyOf(bytes));
  if (dtype === 'I64') return Int32Array.from(new BigInt64Array(copyOf(bytes)), fitInt32);
  if (dtype === 'I16' || dtype === 'I8' || dtype === 'U8' || dtype === 'BOOL') {
    return Int32Array.from(smallNumbers(dtype, bytes));
  }
  throw new CheckpointError(`${dtype} does not hold integers; expected I64, I32, I16, I8, U8 or BOOL`);
}

// A bfloat16 is the upper half of a float32.
function widenBf16(from: Uint16Array, target: Float32Array, at: number): void {
  const bits = new Uint32Array(target.buffer, target.byteOffset + at * 4, from.length);
  for (let i = 0; i < from.length; i++) bits[i] = from[i] << 16;
}

function widenF16(from: Uint16Array, target: Float32Array, at: number): void {
  const bits = new Uint32Array(target.buffer, target.byteOffset + at * 4, from.length);
  const table = f16Table();
  for (let i = 0; i < from.length; i++) bits[i] = table[from[i]];
}

let f16Bits: Uint32Array | undefined;

/** float32 bits of every half: 256 KiB, built at the first use and kept. */
function f16Table(): Uint32Array {
  f16Bits ??= Uint32Array.from({ length: 0x10000 }, (_, half) => float32BitsOfHalf(half));
  return f16Bits;
}

/** IEEE half, sign 1 · exponent 5 (bias 15) · mantissa 10, to float32, 1 · 8 (bias 127) · 23. */
function float32BitsOfHalf(half: number): number {
  const sign = (half & 0x8000) << 16;
  const exponent = (half >>> 10) & 0x1f;
  const mantissa = half & 0x3ff;
  if (exponent === 0x1f) return (sign | 0x7f800000 | (mantissa << 13)) >>> 0;
  if (exponent !== 0) return (sign | ((exponent + 112) << 23) | (mantissa << 13)) >>> 0;
  if (mantissa === 0) return sign >>> 0;
  // Subnormal: mantissa · 2^-24. Shift its leading one up to the place of the hidden bit.
  const shift = Math.clz32(mantissa) - 21;
  return (sign | ((113 - shift) << 23) | (((mantissa << shift) & 0x3ff) << 13)) >>> 0;
}

function smallNumbers(
  dtype: 'F64' | 'I16' | 'I8' | 'U8' | 'BOOL',
  bytes: Uint8Array,
): Float64Array | Int16Array | Int8Array | Uint8Array {
  if (dtype === 'F64') return new Float64Array(copyOf(bytes));
  if (dtype === 'I16') return new Int16Array(copyOf(bytes));
  if (dtype === 'I8') return new Int8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return bytes;
}

function uint16View(bytes: Uint8Array): Uint16Array {
  if (bytes.byteOffset % 2 !== 0) return new Uint16Array(copyOf(bytes));
  return new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 2);
}

// A buffer of these bytes alone, aligned for every view. Not `bytes.slice()`: on a Node Buffer that is no copy.
const copyOf = (bytes: Uint8Array): ArrayBuffer => new Uint8Array(bytes).buffer;

function fitInt32(value: bigint): number {
  if (BigInt.asIntN(32, value) === value) return Number(value);
  throw new CheckpointError(
    `the 64-bit integer ${value} does not fit 32 bits; token ids and grids are smaller than that`,
  );
}
