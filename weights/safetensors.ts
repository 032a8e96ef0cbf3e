import { CheckpointError, InputError } from '../src/errors.ts';
import { checkBytes, checkStored } from './checksum.ts';
import { bytesPerElement, elementCount, isFloatDtype, toInt32Array, widenInto } from './dtypes.ts';
import { decodeRows, quantRowBytes } from './quantization.ts';
import { partsOf, type TensorEntry } from './safetensors-header.ts';

export {
  partsOf,
  readHeader,
  type SafetensorsHeader,
  storedBytes,
  type TensorEntry,
} from './safetensors-header.ts';

/** Bytes of one read. Large enough that a disk or a server is busy, small beside any weight that matters. */
const defaultChunk = 16 * 2 ** 20;

export type ReadOptions = {
  readonly signal?: AbortSignal;
  /** Bytes of one read. Default: 16 MiB. */
  readonly chunkBytes?: number;
};

export type ReadFloatOptions = ReadOptions & {
  /** Refuse NaN and infinities: a `CheckpointError` names the tensor, the place and the value. Default: false. */
  readonly checkFinite?: boolean;
};

/** A tensor's bytes as they lie in the file, little-endian; compared with their checksum, where there is one. */
export async function readTensor(entry: TensorEntry, options: ReadOptions = {}): Promise<Uint8Array> {
  const bytes = await readBytes(entry, options);
  checkBytes(entry, bytes);
  return bytes;
}

async function readBytes(
  { source, begin, byteLength }: TensorEntry,
  { signal, chunkBytes = defaultChunk }: ReadOptions,
): Promise<Uint8Array> {
  if (byteLength <= chunkBytes) return source.read(begin, byteLength, signal);
  const result = new Uint8Array(byteLength);
  for (let at = 0; at < result.length; at += chunkBytes) {
    const length = Math.min(chunkBytes, result.length - at);
    result.set(await source.read(begin + at, length, signal), at);
  }
  return result;
}

/**
 * A tensor widened to float32, flat: exact for F32, F16, BF16 and small integers, F64 rounded, I32 and I64 refused.
 * A quantised one is decoded. Read and widened chunk by chunk: the peak is the result and one chunk. A tensor with a
 * checksum is read through once before.
 */
export async function readFloat32(entry: TensorEntry, options: ReadFloatOptions = {}): Promise<Float32Array> {
  for (const part of partsOf(entry)) await checkStored(part, options.signal);
  return entry.quantized
    ? readRows(entry, 0, entry.shape[0], options)
    : readElements(entry, 0, elementCount(entry.shape), options);
}

/**
 * Rows `rowBegin` ≤ row < `rowEnd` along the first axis, widened like `readFloat32`, flat: what a large matrix is turned with,
 * or a table that stays on disk is looked up with. A scalar, or rows outside the tensor, is an `InputError`. Rows have no
 * checksum of their own: `checkStored` first.
 */
export async function readRows(
  entry: TensorEntry,
  rowBegin: number,
  rowEnd: number,
  options: ReadFloatOptions = {},
): Promise<Float32Array> {
  const [rows, ...rest] = entry.shape;
  const whole = Number.isInteger(rowBegin) && Number.isInteger(rowEnd);
  if (rows === undefined || !whole || rowBegin < 0 || rowBegin > rowEnd || rowEnd > rows) {
    throw new InputError(
      `${titleOf(entry)} [${entry.shape.join(', ')}] has no rows from ${rowBegin} to ${rowEnd}`,
    );
  }
  const width = elementCount(rest);
  if (entry.quantized) return readQuantizedRows(entry, entry.quantized, [rowBegin, rowEnd], options);
  return readElements(entry, rowBegin * width, rowEnd * width, options);
}

/** An integer tensor as int32: I32 and smaller as they are, I64 where every value fits. */
export async function readInt32(entry: TensorEntry, options: ReadOptions = {}): Promise<Int32Array> {
  return toInt32Array(await readTensor(entry, options), entry.dtype);
}

async function readQuantizedRows(
  entry: TensorEntry,
  { format, scales }: NonNullable<TensorEntry['quantized']>,
  [rowBegin, rowEnd]: readonly [number, number],
  { signal, chunkBytes = defaultChunk, checkFinite = false }: ReadFloatOptions,
): Promise<Float32Array> {
  const width = elementCount(entry.shape.slice(1));
  const bytes = quantRowBytes(format, width);
  const perRead = Math.max(1, Math.floor(chunkBytes / bytes.codes));
  const result = new Float32Array((rowEnd - rowBegin) * width);
  for (let row = rowBegin; row < rowEnd; row += perRead) {
    const count = Math.min(perRead, rowEnd - row);
    const part = result.subarray((row - rowBegin) * width, (row - rowBegin + count) * width);
    const packed = {
      codes: await entry.source.read(entry.begin + row * bytes.codes, count * bytes.codes, signal),
      scales: await scales.source.read(scales.begin + row * bytes.scales, count * bytes.scales, signal),
    };
    decodeRows(format, packed, width, part);
    if (checkFinite) checkThatFinite({ ...entry, dtype: 'F32' }, part, row * width);
  }
  return result;
}

async function readElements(
  entry: TensorEntry,
  from: number,
  to: number,
  { signal, chunkBytes = defaultChunk, checkFinite = false }: ReadFloatOptions,
): Promise<Float32Array> {
  const bytes = bytesPerElement(entry.dtype);
  const perRead = Math.max(1, Math.floor(chunkBytes / bytes));
  const result = new Float32Array(to - from);
  for (let at = 0; at < result.length; at += perRead) {
    const count = Math.min(perRead, result.length - at);
    const chunk = await entry.source.read(entry.begin + (from + at) * bytes, count * bytes, signal);
    widenInto(chunk, entry.dtype, result, at);
    if (checkFinite) checkThatFinite(entry, result.subarray(at, at + count), from + at);
  }
  return result;
}

/** Refuses NaN and infinities in bytes that are already in memory, some at a time. */
export function checkFinite(entry: TensorEntry, bytes: Uint8Array): void {
  const width = bytesPerElement(entry.dtype);
  const some = new Float32Array(1 << 16);
  for (let first = 0; first < bytes.byteLength / width; first += some.length) {
    const count = Math.min(some.length, bytes.byteLength / width - first);
    const part = some.subarray(0, count);
    widenInto(bytes.subarray(first * width, (first + count) * width), entry.dtype, part);
    checkThatFinite(entry, part, first);
  }
}

function checkThatFinite(entry: TensorEntry, values: Float32Array, first: number): void {
  if (!isFloatDtype(entry.dtype)) return;
  for (let i = 0; i < values.length; i++) {
    if (Number.isFinite(values[i])) continue;
    const index = first + i;
    throw new CheckpointError(
      `${titleOf(entry)} holds ${values[i]} at index ${index} ` +
        `([${coordinates(index, entry.shape).join(', ')}] of [${entry.shape.join(', ')}]); ` +
        'a model with it gives no embeddings: download the file again or ask who made it',
    );
  }
}

const titleOf = (entry: TensorEntry): string => `${entry.source.name}: tensor ${JSON.stringify(entry.name)}`;

/** A flat index as one along each axis, the last axis fastest. */
function coordinates(index: number, shape: readonly number[]): readonly number[] {
  return shape.map((size, axis) => Math.floor(index / elementCount(shape.slice(axis + 1))) % size);
}
