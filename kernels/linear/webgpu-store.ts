import * as tf from '@tensorflow/tfjs-core';
import { idleTensor, webgpuBackend } from '../webgpu/backend.ts';
import { run } from '../webgpu/run.ts';
import { forEachElement, oneLaneEach, type Shader, shaderFamily } from '../webgpu/shader.ts';
import type { Matrix } from './matrix.ts';
import type { MatrixStore, RawMatrix } from './matrix-store.ts';
import { bufferBytes, foursOf, ownWords, sectionsOf, writeRows } from './row-words.ts';
import { elementOf, readFours, type WeightLayout, type Words } from './weight-layouts.ts';

export { foursOf } from './row-words.ts';

/** Consecutive rows of a matrix in a tensor of their own: one binding of a GPU may be smaller than a large matrix. */
export type RowPart = { readonly first: number; readonly count: number; readonly tensor: tf.Tensor };

/**
 * A matrix [out, in] on the GPU, row by row as in the checkpoint: float32, or 16-bit floats, int8 or int4 in the words of an
 * int32 tensor, with their scales behind them. Rows are padded to fours of values, which shaders read at once.
 */
export type RowMatrix = Matrix & { readonly words: Words; readonly parts: readonly RowPart[] };

export const isRows = (matrix: Matrix): matrix is RowMatrix => 'parts' in matrix;

export const layoutOf = ({ words }: RowMatrix): WeightLayout => `${words}Rows`;

/** Matrices for products of our own. `bindingLimit`: bytes of the largest part. */
export const webgpuStore = (bindingLimit: number): MatrixStore => ({
  float32: (raw) => rowMatrix(raw, 'float32', bindingLimit),
  packed: (raw) => rowMatrix(raw, ownWords(raw), bindingLimit),
});

function rowMatrix(raw: RawMatrix, words: Words, bindingLimit: number): RowMatrix {
  const { inSize, outSize } = raw;
  const width = 4 * foursOf(inSize); // values
  const sections = sectionsOf(raw, words);
  const rowBytes = sections.reduce((sum, section) => sum + section.rowBytes, 0);
  const spans = splitRows(outSize, Math.max(1, Math.floor(bindingLimit / rowBytes)));
  let parts = spans.map((span): RowPart => {
    const shape = words === 'float32' ? [span.count, width] : [bufferBytes(sections, span.count) / 4];
    const tensor = idleTensor(webgpuBackend(), shape, words === 'float32' ? 'float32' : 'int32');
    writeRows(tensor, sections, span);
    return { ...span, tensor };
  });
  const dense = () =>
    tf.tidy(() => {
      const rows = parts.map((part) =>
        words === 'float32' ? (part.tensor as tf.Tensor2D) : widen(part, words, inSize),
      );
      const all: tf.Tensor2D = rows.length === 1 ? rows[0] : tf.concat(rows, 0);
      return tf.transpose(width === inSize ? all : tf.slice(all, [0, 0], [outSize, inSize])) as tf.Tensor2D;
    });
  return {
    inSize,
    outSize,
    storage: words === 'float32' ? 'float32' : 'packed',
    bytes: spans.reduce((sum, { count }) => sum + bufferBytes(sections, count), 0),
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

/** A lane widens four columns of a row. */
const widenShader = shaderFamily<Words, Shader<'words', 'size' | 'fours' | 'columns' | 'rows'>>(
  (words) => words,
  (words) => ({
    name: 'Linear (widen)',
    inputs: { words: elementOf(`${words}Rows`) },
    output: 'vec4<f32>',
    uniforms: { size: 'u32', fours: 'u32', columns: 'u32', rows: 'u32' },
    code:
      readFours('weightAt', `${words}Rows`, {
        buffer: 'words',
        fours: 'u.fours',
        columns: 'u.columns',
        rows: 'u.rows',
      }) + forEachElement('result[i] = weightAt(i / u.fours, i % u.fours);'),
  }),
);

/** Packed rows → float32, exactly.   → [rows, 4·⌈in/4⌉] */
function widen({ tensor, count }: RowPart, words: Words, inSize: number): tf.Tensor2D {
  const fours = foursOf(inSize);
  const size = count * fours;
  return run({
    shader: widenShader(words),
    inputs: { words: tensor },
    uniforms: { size, fours, columns: inSize, rows: count },
    workgroups: oneLaneEach(size),
    output: [count, 4 * fours],
  });
}
