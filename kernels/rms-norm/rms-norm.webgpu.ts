import type * as tf from '@tensorflow/tfjs-core';
import { run } from '../webgpu/run.ts';
import { oneGroupEach, type Shader, SUM_LANES, sumOverLanes } from '../webgpu/shader.ts';
import type { RmsNormAttrs, RmsNormInputs } from './rms-norm.ts';

/** One workgroup a row: lanes stride over the columns, then a tree in workgroup memory adds up their squares. */
const shader: Shader<'x' | 'weight', 'rows' | 'columns' | 'eps'> = {
  name: 'RmsNorm',
  inputs: { x: 'f32', weight: 'f32' },
  output: 'f32',
  uniforms: { rows: 'u32', columns: 'u32', eps: 'f32' },
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
    let factor = inverseSqrt(sumOverLanes(squares, lane) / f32(u.columns) + u.eps);
    for (var c = lane; c < u.columns; c += ${SUM_LANES}u) { result[at + c] = weight[c] * (x[at + c] * factor); }
  }
}`,
};

export function webgpuRmsNorm({ x, weight }: RmsNormInputs, { eps }: RmsNormAttrs): tf.Tensor2D {
  const [rows, columns] = x.shape;
  return run({
    shader,
    inputs: { x, weight },
    uniforms: { rows, columns, eps },
    workgroups: oneGroupEach(rows),
    output: x.shape,
  });
}
