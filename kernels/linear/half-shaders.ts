import type { Shader } from '../webgpu/shader.ts';
import { halfReadCode } from './half-rows.ts';
import { leaveCode, linearShader, type Uniform, type Variant, weightCode } from './linear-shaders.ts';

/** What a product in float16 is given: as many buffers as WebGPU guarantees, with the result. */
export type HalfInput = 'x' | 'weight' | 'loraB' | 'sizes' | 'bias' | 'gate' | 'residual';

/** A product of float16 rows (half-rows.ts) around its `main`. */
export function halfShader(
  v: Variant,
  {
    name,
    directives,
    main,
  }: { readonly name: string; readonly directives: readonly string[]; readonly main: string },
): Shader<HalfInput, Uniform> {
  const { inputs, output, uniforms } = linearShader(v);
  const { weight, loraB, bias, gate, residual } = inputs;
  return {
    name,
    directives,
    inputs: { x: 'vec2<u32>', weight, loraB, sizes: 'f32', bias, gate, residual },
    output,
    uniforms,
    code: [weightCode(v), halfReadCode, leaveCode, main].join('\n'),
  };
}
