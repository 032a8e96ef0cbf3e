import type * as tf from '@tensorflow/tfjs-core';
import { webgpuBackend } from '../webgpu/backend.ts';
import { run } from '../webgpu/run.ts';
import { oneGroupEach, type Shader, shaderFamily } from '../webgpu/shader.ts';
import { inputCode, LANES, linearShader, type Uniform, type Variant, weightCode } from './linear-shaders.ts';

// Float16 ends at 65504, and activations of this model do not: some channels of the residual stream and of the MLP are a
// thousand times as large as the rest. So each row of x and each output's row of W is divided by a power of two, its size,
// which leaves its largest value between 1 and 2; the sum is multiplied by both sizes again. Low-rank columns are part of the
// rows, as everywhere in the product.

/** WGSL: `sizeOf(largest)`, the power of two at or below it; `without(size)`, what to multiply by. Neither is ever 0 or infinite. */
const SIZES = `
fn sizeOf(largest : f32) -> f32 { return bitcast<f32>(clamp(bitcast<u32>(largest) >> 23u, 7u, 247u) << 23u); }
fn without(size : f32) -> f32 { return bitcast<f32>((254u << 23u) - bitcast<u32>(size)); }`;

/** WGSL: `sizeOfRow(row, lane)` over all fours of a row, the same in every lane. */
const sizeOfRow = (at: 'inputAt' | 'weightAt'): string => `
${SIZES}
var<workgroup> found : array<f32, ${LANES}>;
fn sizeOfRow(row : u32, lane : u32) -> f32 {
  var most = vec4<f32>();
  for (var c = lane; c < u.depth; c += ${LANES}u) { most = max(most, abs(${at}(row, c))); }
  found[lane] = max(max(most.x, most.y), max(most.z, most.w));
  for (var step = ${LANES / 2}u; step > 0u; step >>= 1u) {
    workgroupBarrier();
    if (lane < step) { found[lane] = max(found[lane], found[lane + step]); }
  }
  workgroupBarrier();
  let size = sizeOf(found[0]);
  workgroupBarrier(); // the next row writes here
  return size;
}`;

/** A workgroup a row, in strides of the grid. */
const forEachRow = (rows: string, body: string): string => `
@compute @workgroup_size(${LANES})
fn main(
  @builtin(workgroup_id) group : vec3<u32>,
  @builtin(num_workgroups) groups : vec3<u32>,
  @builtin(local_invocation_index) lane : u32,
) {
  for (var row = group.x; row < ${rows}; row += groups.x) {
    let size = sizeOfRow(row, lane);
    ${body}
  }
}`;

const halfInputShader = shaderFamily<Variant, Shader<'x' | 'low', Uniform>>(
  ({ fours }) => `${fours}`,
  (v) => {
    const { inputs, uniforms } = linearShader(v);
    return {
      name: 'Linear (half input)',
      inputs: { x: inputs.x, low: inputs.low },
      output: 'vec2<u32>',
      uniforms,
      code: [
        inputCode(v),
        sizeOfRow('inputAt'),
        forEachRow(
          'u.rows',
          `for (var c = lane; c < u.depth; c += ${LANES}u) {
      let v = inputAt(row, c) * without(size);
      result[row * u.depth + c] = vec2<u32>(pack2x16float(v.xy), pack2x16float(v.zw));
    }
    if (lane == 0u) { result[u.rows * u.depth + row] = vec2<u32>(bitcast<u32>(size), 0u); }`,
        ),
      ].join('\n'),
    };
  },
);

/** Rows of x, with their low-rank columns, as float16; behind them the size of each.   → [rows · (depth + 1)] vec2<u32> */
export function halfInput(
  variant: Variant,
  inputs: { readonly x: tf.Tensor; readonly low: tf.Tensor | GPUBuffer },
  uniforms: Readonly<Record<Uniform, number>>,
): tf.Tensor {
  const { rows, depth } = uniforms;
  return run({
    shader: halfInputShader(variant),
    inputs,
    uniforms,
    workgroups: oneGroupEach(rows),
    output: [2 * rows * (depth + 1)],
  });
}

const weightSizesShader = shaderFamily<Variant, Shader<'weight' | 'loraB', Uniform>>(
  ({ weight, lora }) => `${weight},${lora}`,
  (v) => {
    const { inputs, uniforms } = linearShader(v);
    return {
      name: 'Linear (sizes)',
      inputs: { weight: inputs.weight, loraB: inputs.loraB },
      output: 'f32',
      uniforms,
      code: [
        weightCode(v),
        sizeOfRow('weightAt'),
        forEachRow('u.part', 'if (lane == 0u) { result[row] = size; }'),
      ].join('\n'),
    };
  },
);

// Weights never change under their dataId (an update makes a new tensor), so their sizes are found once a pair.
const known = new WeakMap<object, WeakMap<object, GPUBuffer>>();

/** The size of each output's row: of W, and of B behind it.   → [part] */
export function weightSizes(
  variant: Variant,
  { weight, loraB }: { readonly weight: tf.Tensor; readonly loraB: tf.Tensor },
  uniforms: Readonly<Record<Uniform, number>>,
): GPUBuffer {
  let withB = known.get(weight.dataId);
  if (!withB) {
    withB = new WeakMap();
    known.set(weight.dataId, withB);
  }
  let sizes = withB.get(loraB.dataId);
  if (!sizes) {
    sizes = webgpuBackend().device.createBuffer({
      label: 'Linear (sizes)',
      size: 4 * uniforms.part,
      usage: GPUBufferUsage.STORAGE,
    });
    run({
      shader: weightSizesShader(variant),
      inputs: { weight, loraB },
      uniforms,
      workgroups: oneGroupEach(uniforms.part),
      output: sizes,
    });
    withB.set(loraB.dataId, sizes);
  }
  return sizes;
}

/** WGSL: four float16 of a row of x or of W, and what their products are to be multiplied by. Zeros outside. */
export const halfReadCode = `${SIZES}
fn halfInputAt(m : u32, c : u32) -> vec4<f16> {
  if (m >= u.rows || c >= u.depth) { return vec4<f16>(); }
  return bitcast<vec4<f16>>(x[m * u.depth + c]);
}
fn inputSize(m : u32) -> f32 {
  if (m >= u.rows) { return 1.0; }
  return bitcast<f32>(x[u.rows * u.depth + m].x);
}
fn weightSize(n : u32) -> f32 {
  if (n >= u.part) { return 1.0; }
  return sizes[n];
}
fn halfWeightAt(n : u32, c : u32) -> vec4<f16> { return vec4<f16>(weightAt(n, c) * without(weightSize(n))); }
fn leaveHalf(m : u32, n : u32, sum : f32) { leave(m, n, sum * inputSize(m) * weightSize(n)); }`;
