import { count, fieldsKey, type Shader, shaderFamily } from '../webgpu/shader.ts';
import { type HalfInput, halfShader } from './half-shaders.ts';
import { DEEP, LANES, SIDE, type Uniform, type Variant } from './linear-shaders.ts';

/** The `tiles` plan with `shader-f16`: four products at a time in float16, sums in float32 (in float16 a sum of four doubles the error). */
export const halfTilesShader = shaderFamily<Variant, Shader<HalfInput, Uniform>>(fieldsKey, (v) =>
  halfShader(v, { name: 'Linear (half)', directives: ['enable f16;'], main: mainCode(v) }),
);

/** As in float32 (linear-shaders.ts): lane (tx, ty) has rows ty + 8i and columns tx + 8j. */
function mainCode({ plan }: Variant): string {
  const per = plan.kind === 'tiles' ? plan.per : 1;
  const side = SIDE * per;
  const all = count(per);
  const add = (i: number) =>
    all.map((j) => `s${i}_${j} += dot(vec4<f32>(a * w${j}), vec4<f32>(1.0));`).join(' ');
  return `
var<workgroup> inputs : array<vec4<f16>, ${side * DEEP}>;
var<workgroup> weights : array<vec4<f16>, ${side * DEEP}>;
@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) group : vec3<u32>, @builtin(local_invocation_index) lane : u32) {
  let tx = lane % ${SIDE}u;
  let ty = lane / ${SIDE}u;
  let n0 = group.x * ${side}u;
  let m0 = group.y * ${side}u;
  ${all.map((i) => all.map((j) => `var s${i}_${j} = 0.0;`).join(' ')).join('\n  ')}
  for (var k = 0u; k < u.depth; k += ${DEEP}u) {
    for (var i = lane; i < ${side * DEEP}u; i += ${LANES}u) {
      let row = i / ${DEEP}u;
      let c = i % ${DEEP}u;
      inputs[c * ${side}u + row] = halfInputAt(m0 + row, k + c);
      weights[c * ${side}u + row] = halfWeightAt(n0 + row, k + c);
    }
    workgroupBarrier();
    for (var c = 0u; c < ${DEEP}u; c++) {
      ${all.map((j) => `let w${j} = weights[c * ${side}u + tx + ${j * SIDE}u];`).join(' ')}
      ${all.map((i) => `{ let a = inputs[c * ${side}u + ty + ${i * SIDE}u]; ${add(i)} }`).join('\n      ')}
    }
    workgroupBarrier();
  }
  var all = array<f32, ${per * per}>(${all.flatMap((i) => all.map((j) => `s${i}_${j}`)).join(', ')});
  for (var i = 0u; i < ${per * per}u; i++) {
    leaveHalf(m0 + ty + ${SIDE}u * (i / ${per}u), n0 + tx + ${SIDE}u * (i % ${per}u), all[i]);
  }
}`;
}
