import type * as tf from '@tensorflow/tfjs-core';
import { bytesPerElement, widenInto } from '../../weights/dtypes.ts';
import { decodeRows, quantRowBytes } from '../../weights/quantization.ts';
import { bufferOf, webgpuBackend } from '../webgpu/backend.ts';
import { isQuantized, type RawMatrix } from './matrix-store.ts';
import type { Words } from './weight-layouts.ts';

/** Fours of values in a row. */
export const foursOf = (inSize: number): number => Math.ceil(inSize / 4);

/** The words that hold a matrix as it is; float32 for number formats that a shader does not read. */
export function ownWords(raw: RawMatrix): Words {
  if (isQuantized(raw)) return raw.format;
  return raw.dtype === 'BF16' ? 'bfloat16' : raw.dtype === 'F16' ? 'float16' : 'float32';
}

/** What lies one after the other in a buffer of rows: values or codes, and scales behind codes. */
type Section = {
  /** Bytes of a row in the buffer. */
  readonly rowBytes: number;
  /** Bytes of these rows. */
  readonly read: (row: number, rows: number) => Uint8Array;
};

/** A matrix as sections of rows in these words: its own, or float32. Bytes of the checkpoint are lent, not copied, where they fit. */
export function sectionsOf(raw: RawMatrix, words: Words): readonly Section[] {
  const { inSize } = raw;
  const width = 4 * foursOf(inSize);
  if (words === 'float32') {
    const read = (row: number, rows: number) => {
      const values = new Float32Array(rows * inSize);
      if (isQuantized(raw)) decodeRows(raw.format, raw.rows, inSize, values, row);
      else {
        const from = bytesPerElement(raw.dtype) * inSize;
        widenInto(raw.bytes.subarray(row * from, (row + rows) * from), raw.dtype, values);
      }
      return padRows(new Uint8Array(values.buffer), 4 * inSize, 4 * width);
    };
    return [{ rowBytes: 4 * width, read }];
  }
  const section = (bytes: Uint8Array, from: number, rowBytes = from): Section => ({
    rowBytes,
    read: (row, rows) => padRows(bytes.subarray(row * from, (row + rows) * from), from, rowBytes),
  });
  if (!isQuantized(raw)) return [section(raw.bytes, 2 * inSize, 2 * width)];
  const { codes, scales } = quantRowBytes(raw.format, inSize);
  return [section(raw.rows.codes, codes, 4 * Math.ceil(codes / 4)), section(raw.rows.scales, scales)];
}

function padRows(bytes: Uint8Array, from: number, to: number): Uint8Array {
  if (from === to) return bytes;
  const rows = bytes.byteLength / from;
  const padded = new Uint8Array(rows * to);
  for (let row = 0; row < rows; row++) padded.set(bytes.subarray(row * from, (row + 1) * from), row * to);
  return padded;
}

const wholeWords = (bytes: number): number => 4 * Math.ceil(bytes / 4);

/** Bytes of a buffer with so many rows. */
export const bufferBytes = (sections: readonly Section[], rows: number): number =>
  sections.reduce((sum, { rowBytes }) => sum + wholeWords(rows * rowBytes), 0);

const STEP = 16 << 20; // bytes written at once: what the driver stages beside the buffer

/** Fills a buffer of `bufferBytes` with rows `first` … `first + count`. */
export function writeRows(
  tensor: tf.Tensor,
  sections: readonly Section[],
  { first, count }: { readonly first: number; readonly count: number },
): void {
  const { queue } = webgpuBackend();
  const buffer = bufferOf(webgpuBackend(), tensor);
  let at = 0;
  for (const { rowBytes, read } of sections) {
    const rowsAtOnce = 2 * Math.max(1, Math.floor(STEP / (2 * rowBytes))); // two rows are whole words, whatever one is
    for (let row = 0; row < count; row += rowsAtOnce) {
      const bytes = read(first + row, Math.min(rowsAtOnce, count - row));
      const written = padRows(bytes, bytes.byteLength, wholeWords(bytes.byteLength));
      queue.writeBuffer(buffer, at + row * rowBytes, written as Uint8Array<ArrayBuffer>);
    }
    at += wholeWords(count * rowBytes);
  }
  void queue.onSubmittedWorkDone(); // lets the driver take staged bytes back while the next matrix is read
}
