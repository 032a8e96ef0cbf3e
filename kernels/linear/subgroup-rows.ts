import { count, fieldsKey, type Shader, shaderFamily } from '../webgpu/shader.ts';
import {
  COLUMNS,
  FOURS,
  inputCode,
  LANES,
  leaveCode,
  linearShader,
  longSums,
  type Uniform,
  type Variant,
  weightCode,
} from './linear-shaders.ts';

const LEAST_SUBGROUP = 4; // lanes, as WebGPU guarantees

/**
 * The `rows` plan with `subgroups`: sums of the lanes of a subgroup need no memory, so one barrier is left where the tree has
 * six. Exact float32, added up in another order. Subgroups are runs of neighbouring lanes, as everyone takes them to be (Dawn's
 * own `subgroup_id` where a driver has none; onnxruntime's WebGPU kernels).
 */
export const subgroupRowsShader = shaderFamily<Variant, Shader<string, Uniform>>(fieldsKey, (v) => ({
  ...linearShader(v),
  name: 'Linear (subgroups)',
  directives: ['enable subgroups;'],
  code: [inputCode(v), weightCode(v), leaveCode, FOURS, mainCode(v)].join('\n'),
}));

function mainCode({ plan }: Variant): string {
  const rows = plan.kind === 'rows' ? plan.rows : 1;
  const sums = rows * COLUMNS;
  return `
var<workgroup> parts : array<f32, ${(LANES / LEAST_SUBGROUP) * sums}>;
@compute @workgroup_size(${LANES})
fn main(
  @builtin(workgroup_id) group : vec3<u32>,
  @builtin(local_invocation_index) lane : u32,
  @builtin(subgroup_invocation_id) own : u32,
  @builtin(subgroup_size) size : u32,
) {
  ${longSums(rows)}
  ${count(sums)
    .map((i) => `s${i} = subgroupAdd(s${i});`)
    .join(' ')}
  if (own == 0u) {
    let at = (lane / size) * ${sums}u;
    ${count(sums)
      .map((i) => `parts[at + ${i}u] = s${i};`)
      .join(' ')}
  }
  workgroupBarrier();
  if (lane < ${sums}u) {
    var sum = parts[lane];
    for (var part = 1u; part < ${LANES}u / size; part++) { sum += parts[part * ${sums}u + lane]; }
    leave(m + lane / ${COLUMNS}u, n + lane % ${COLUMNS}u, sum);
  }
}`;
}
