import * as tf from '@tensorflow/tfjs-core';
import { foursOf, type RowMatrix } from '../linear/webgpu-store.ts';
import { elementOf, readFours, type Words } from '../linear/weight-layouts.ts';
import { emptyTensor, webgpuBackend } from '../webgpu/backend.ts';
import { run } from '../webgpu/run.ts';
import { forEachElement, oneLaneEach, type Shader, shaderFamily } from '../webgpu/shader.ts';
import type { EmbeddingTable } from './embedding.ts';

/**
 * A table [V, D] on the GPU, kept as a matrix of the WebGPU store: 16-bit floats and integers are widened as rows are read, and a table
 * larger than one binding lies in parts. For a GPU with room for it: a host table costs the model nothing else.
 */
export function rowTable(matrix: RowMatrix): EmbeddingTable {
  const { outSize: rows, inSize: width, words, bytes } = matrix;
  const fours = foursOf(width);
  return {
    rows,
    width,
    storage: words,
    bytes,
    gather: (ids) =>
      tf.tidy(() => {
        const wanted = tf.tensor1d(ids, 'int32');
        const found = emptyTensor<tf.Tensor2D>(webgpuBackend(), [ids.length, width]);
        const size = ids.length * fours;
        for (const { first, count, tensor } of matrix.parts) {
          run({
            shader: gatherShader(words),
            inputs: { table: tensor, ids: wanted },
            uniforms: { size, fours, width, first, part: count },
            workgroups: oneLaneEach(size),
            output: found,
          });
        }
        return found;
      }),
    dispose: () => matrix.dispose(),
  };
}

/** A lane copies four columns of a wanted row, where the bound part has it. */
const gatherShader = shaderFamily<
  Words,
  Shader<'table' | 'ids', 'size' | 'fours' | 'width' | 'first' | 'part'>
>(
  (words) => words,
  (words) => ({
    name: 'Embedding',
    inputs: { table: elementOf(`${words}Rows`), ids: 'u32' },
    output: 'f32',
    uniforms: { size: 'u32', fours: 'u32', width: 'u32', first: 'u32', part: 'u32' },
    code:
      readFours('rowAt', `${words}Rows`, {
        buffer: 'table',
        fours: 'u.fours',
        columns: 'u.width',
        rows: 'u.part',
      }) +
      forEachElement(`let t = i / u.fours;
    let column = 4u * (i % u.fours);
    let row = ids[t] - u.first; // wraps to a large number below the part
    if (row >= u.part) { continue; }
    let v = rowAt(row, i % u.fours);
    for (var j = 0u; j < min(4u, u.width - column); j++) { result[t * u.width + column + j] = v[j]; }`),
  }),
);
