import type * as tf from '@tensorflow/tfjs-core';
import { run } from '../webgpu/run.ts';
import { forEachElement, oneLaneEach, type Shader } from '../webgpu/shader.ts';
import type { RopeAttrs, RopeInputs } from './rope.ts';

/** A lane turns a pair: column j of a head and column j + H/2. */
const shader: Shader<'x' | 'cosines' | 'sines', 'size' | 'heads' | 'half'> = {
  name: 'Rope',
  inputs: { x: 'f32', cosines: 'f32', sines: 'f32' },
  output: 'f32',
  uniforms: { size: 'u32', heads: 'u32', half: 'u32' },
  code: forEachElement(`let j = i % u.half;
    let head = i / u.half; // of all rows
    let a = head * 2u * u.half + j;
    let b = a + u.half;
    let angle = (head / u.heads) * 2u * u.half + j;
    result[a] = x[a] * cosines[angle] - x[b] * sines[angle];
    result[b] = x[b] * cosines[angle + u.half] + x[a] * sines[angle + u.half];`),
};

export function webgpuRope({ x, cos, sin }: RopeInputs, { heads }: RopeAttrs): tf.Tensor2D {
  const size = x.size / 2;
  return run({
    shader,
    inputs: { x, cosines: cos, sines: sin },
    uniforms: { size, heads, half: cos.shape[1] / 2 },
    workgroups: oneLaneEach(size),
    output: x.shape,
  });
}
