import type * as tf from '@tensorflow/tfjs-core';
import { constant, run } from '../webgpu/run.ts';
import {
  forEachElement,
  oneGroupEach,
  oneLaneEach,
  type Shader,
  SUM_LANES,
  sumOverLanes,
} from '../webgpu/shader.ts';
import { NORM_FLOOR, type PoolAttrs, type PoolInputs } from './pool.ts';

// Sums of sums: row after row, the rounding of a long text's last rows would show.
const ROWS_AT_ONCE = 64;

/** A lane adds up one column of one span: neighbours read neighbouring columns. */
const meanShader: Shader<'x' | 'spans', 'size' | 'columns'> = {
  name: 'MeanPool',
  inputs: { x: 'f32', spans: 'vec2<u32>' },
  output: 'f32',
  uniforms: { size: 'u32', columns: 'u32' },
  code: forEachElement(`let span = spans[i / u.columns];
    var sum = 0.0;
    for (var first = span.x; first < span.y; first += ${ROWS_AT_ONCE}u) {
      var some = 0.0;
      for (var row = first; row < min(first + ${ROWS_AT_ONCE}u, span.y); row++) { some += x[row * u.columns + i % u.columns]; }
      sum += some;
    }
    result[i] = sum / f32(span.y - span.x);`),
};

export function webgpuMeanPool({ x }: PoolInputs, { spans }: PoolAttrs): tf.Tensor2D {
  const columns = x.shape[1];
  const size = spans.length * columns;
  return run({
    shader: meanShader,
    inputs: { x, spans: constant(Int32Array.from(spans.flatMap(({ begin, end }) => [begin, end]))) },
    uniforms: { size, columns },
    workgroups: oneLaneEach(size),
    output: [spans.length, columns],
  });
}

/** One workgroup a row. */
const normShader: Shader<'x', 'rows' | 'columns'> = {
  name: 'L2Normalize',
  inputs: { x: 'f32' },
  output: 'f32',
  uniforms: { rows: 'u32', columns: 'u32' },
  code: `
${sumOverLanes}
@compute @workgroup_size(${SUM_LANES})
fn main(
  @builtin(workgroup_id) group : vec3<u32>,
  @builtin(num_workgroups) groups : vec3<u32>,
  @builtin(local_invocation_index) lane : u32,
) {
  for (var row = group.x; row < u.rows; row += groups.x) {
    let at = row * u.columns;
    var squares = 0.0;
    for (var c = lane; c < u.columns; c += ${SUM_LANES}u) { squares += x[at + c] * x[at + c]; }
    let length = max(sqrt(sumOverLanes(squares, lane)), ${NORM_FLOOR});
    for (var c = lane; c < u.columns; c += ${SUM_LANES}u) { result[at + c] = x[at + c] / length; }
  }
}`,
};

export function webgpuL2Normalize({ x }: PoolInputs): tf.Tensor2D {
  const [rows, columns] = x.shape;
  return run({
    shader: normShader,
    inputs: { x },
    uniforms: { rows, columns },
    workgroups: oneGroupEach(rows),
    output: x.shape,
  });
}
