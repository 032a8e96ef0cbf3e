import type * as tf from '@tensorflow/tfjs-core';
import { run } from '../webgpu/run.ts';
import { forEachElement, oneLaneEach, type Shader } from '../webgpu/shader.ts';
import type { SwigluInputs } from './swiglu.ts';

const shader: Shader<'gate' | 'up', 'size'> = {
  name: 'Swiglu',
  inputs: { gate: 'f32', up: 'f32' },
  output: 'f32',
  uniforms: { size: 'u32' },
  code: forEachElement('result[i] = gate[i] / (1.0 + exp(-gate[i])) * up[i];'),
};

/** The MLP has it inside its second product (linear's `gate`); this is the op by itself. */
export const webgpuSwiglu = ({ gate, up }: SwigluInputs): tf.Tensor2D =>
  run({
    shader,
    inputs: { gate, up },
    uniforms: { size: gate.size },
    workgroups: oneLaneEach(gate.size),
    output: gate.shape,
  });
