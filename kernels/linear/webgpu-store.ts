import * as tf from '@tensorflow/tfjs-core';
import { bytesPerElement, widenInto } from '../../weights/dtypes.ts';
import { bufferOf, emptyTensor, webgpuBackend } from '../webgpu/backend.ts';
import { run } from '../webgpu/run.ts';
import { forEachElement, oneLaneEach, type Shader } from '../webgpu/shader.ts';
import { hostStore } from './host-store.ts';
import type { Matrix } from './matrix.ts';
import { type FloatMatrix, isQuantized, type MatrixStore } from './matrix-store.ts';

/** Consecutive rows of a matrix in a tensor of their own: one binding of a GPU may be smaller than a large matrix. */
export type RowPart = { readonly first: number; readonly count: number; readonly tensor: tf.Tensor };

/**
 * A matrix [out, in] on the GPU, row by row as in the checkpoint: float32, or bfloat16 words, two in an int32. Rows are padded
 * with zeros to fours of values, which shaders read at once.
 */
export type RowMatrix = Matrix & {
  readonly words: 'float32' | 'bfloat16';
  readonly parts: readonly RowPart[];
};

export const isRows = (matrix: Matrix): matrix is RowMatrix => 'parts' in matrix;

/** Fours of values in a row. */
export const foursOf = (inSize: number): number => Math.ceil(inSize / 4);

/** Matrices for products of our own. `bindingLimit`: bytes of the largest part. Float16 becomes float32: it is rare. */
export const webgpuStore = (bindingLimit: number): MatrixStore => ({
  float32: (raw) => (isQuantized(raw) ? hostStore.float32(raw) : rowMatrix(raw, 'float32', bindingLimit)),
  packed: (raw) =>
    isQuantized(raw)
      ? hostStore.packed(raw)
      : rowMatrix(raw, raw.dtype === 'BF16' ? 'bfloat16' : 'float32', bindingLimit),
});

function rowMatrix(raw: FloatMatrix, words: RowMatrix['words'], bindingLimit: number): RowMatrix {
  const { inSize, outSize } = raw;
  const width = 4 * foursOf(inSize); // values
  const rowBytes = width * (words === 'bfloat16' ? 2 : 4);
  const spans = splitRows(outSize, Math.max(1, Math.floor(bindingLimit / rowBytes)));
  let parts = spans.map(({ first, count }): RowPart => {
    const tensor = emptyTensor(
      webgpuBackend(),
      [count, rowBytes / 4],
      words === 'bfloat16' ? 'int32' : 'float32',
    );
    writeRows(tensor, raw, words, { first, count, width });
    return { first, count, tensor };
  });
  const dense = () =>
    tf.tidy(() => {
      const rows = parts.map((part) => (words === 'bfloat16' ? widen(part) : part.tensor) as tf.Tensor2D);
      const all: tf.Tensor2D = rows.length === 1 ? rows[0] : tf.concat(rows, 0);
      return tf.transpose(width === inSize ? all : tf.slice(all, [0, 0], [outSize, inSize])) as tf.Tensor2D;
    });
  return {
    inSize,
    outSize,
    storage: words === 'float32' ? 'float32' : 'packed',
    bytes: outSize * rowBytes,
    words,
    get parts() {
      return parts;
    },
    dense,
    ...(words === 'float32' && {
      update: (f: (dense: tf.Tensor2D) => tf.Tensor2D) => {
        const old = parts;
        parts = tf.tidy(() => {
          const rows = tf.pad(tf.transpose(f(dense())) as tf.Tensor2D, [
            [0, 0],
            [0, width - inSize],
          ]);
          return spans.map(({ first, count }) => ({
            first,
            count,
            tensor: tf.keep(tf.slice(rows, [first, 0], [count, width])),
          }));
        });
        for (const { tensor } of old) tensor.dispose();
      },
    }),
    dispose: () => {
      for (const { tensor } of parts) tensor.dispose();
    },
  };
}

function splitRows(rows: number, most: number): readonly { first: number; count: number }[] {
  const spans: { first: number; count: number }[] = [];
  for (let first = 0; first < rows; first += most) spans.push({ first, count: Math.min(most, rows - first) });
  return spans;
}

const STEP = 16 << 20; // bytes written at once: what the driver stages beside the buffer

/** Bytes of the checkpoint straight into the buffer, where they are what it holds; through a padded or widened copy else. */
function writeRows(
  tensor: tf.Tensor,
  { bytes, dtype, inSize }: FloatMatrix,
  words: RowMatrix['words'],
  { first, count, width }: { first: number; count: number; width: number },
): void {
  const { queue } = webgpuBackend();
  const buffer = bufferOf(webgpuBackend(), tensor);
  const from = bytesPerElement(dtype) * inSize; // bytes of a row
  const to = buffer.size / count;
  const own = bytes.subarray(first * from, (first + count) * from);
  const asTheyAre = from === to && (words === 'bfloat16' || dtype === 'F32');
  const rowsAtOnce = Math.max(1, Math.floor(STEP / to));
  for (let row = 0; row < count; row += rowsAtOnce) {
    const rows = Math.min(rowsAtOnce, count - row);
    const some = own.subarray(row * from, (row + rows) * from);
    const written = asTheyAre
      ? some
      : words === 'bfloat16'
        ? padRows(some, from, to)
        : widenRows(some, dtype, { inSize, width, rows });
    queue.writeBuffer(buffer, row * to, written as Uint8Array<ArrayBuffer>);
  }
  void queue.onSubmittedWorkDone(); // lets the driver take staged bytes back while the next matrix is read
}

function padRows(bytes: Uint8Array, from: number, to: number): Uint8Array {
  const rows = bytes.byteLength / from;
  const padded = new Uint8Array(rows * to);
  for (let row = 0; row < rows; row++) padded.set(bytes.subarray(row * from, (row + 1) * from), row * to);
  return padded;
}

function widenRows(
  bytes: Uint8Array,
  dtype: FloatMatrix['dtype'],
  { inSize, width, rows }: { inSize: number; width: number; rows: number },
): Uint8Array {
  const padded = new Float32Array(rows * width);
  const from = bytes.byteLength / rows;
  for (let row = 0; row < rows; row++) {
    const own = padded.subarray(row * width, row * width + inSize);
    widenInto(bytes.subarray(row * from, (row + 1) * from), dtype, own);
  }
  return new Uint8Array(padded.buffer);
}

const widenShader: Shader<'words', 'size'> = {
  name: 'Linear (widen)',
  inputs: { words: 'u32' },
  output: 'vec2<f32>',
  uniforms: { size: 'u32' },
  code: forEachElement(`let word = words[i];
    result[i] = vec2<f32>(bitcast<f32>(word << 16u), bitcast<f32>(word & 0xffff0000u));`),
};

/** bfloat16 words → float32, exactly.   [rows, width/2] → [rows, width] */
function widen({ tensor, count }: RowPart): tf.Tensor2D {
  const size = tensor.size;
  return run({
    shader: widenShader,
    inputs: { words: tensor },
    uniforms: { size },
    workgroups: oneLaneEach(size),
    output: [count, (2 * size) / count],
  });
}
