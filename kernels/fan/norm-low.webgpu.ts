import type * as tf from '@tensorflow/tfjs-core';
import { webgpuRmsNorm } from '../rms-norm/rms-norm.webgpu.ts';
import { numbered } from '../webgpu/numbered.ts';
import { run } from '../webgpu/run.ts';
import { count, type Element, type Shader, shaderFamily } from '../webgpu/shader.ts';
import { composedNormLow, lowWidths, type NormLowAttrs, type NormLowInputs } from './fan.ts';
import { fits } from './fits.ts';
import { downs, elementOf, type FloatWords, readRows, rowsOf, sameFloats } from './row-words.ts';

const LANES = 64;
const ROWS = 4; // of x in a workgroup
const SUMS = 5; // of a row: its squares, and four columns of A

/**
 * A workgroup takes a few rows of x past four columns of one A. The norm is a factor of the whole row, so squares and dot
 * products are added up in one pass; then each of the workgroups of these rows writes its share of the normed row.
 */
export function webgpuNormLow(inputs: NormLowInputs, attrs: NormLowAttrs): tf.Tensor2D {
  const { x, weight, maps } = inputs;
  const terms = maps.flatMap(({ lora }) => lora);
  const [rows, D] = x.shape;
  if (!fits({ maps, rows, outputs: D })) return composedNormLow(inputs, attrs);
  if (terms.length === 0) return webgpuRmsNorm({ x, weight }, attrs) as tf.Tensor2D;
  const low = lowWidths(maps);
  const starts = [0];
  for (const { a } of terms) starts.push(starts[starts.length - 1] + Math.ceil(a.outSize / 4));
  const each = <T>(what: string, f: (i: number) => T) => numbered(what, terms.length, f);
  return run({
    shader: normLowShader({ words: sameFloats(downs(terms)) as FloatWords, terms: terms.length }),
    inputs: { x, weight, ...each('a', (i) => rowsOf(terms[i].a)) },
    uniforms: {
      rows,
      fours: D / 4,
      lows: low / 4,
      eps: attrs.eps,
      ...each('start', (i) => starts[i]),
      ...each('rank', (i) => terms[i].a.outSize),
      ...each('scale', (i) => terms[i].scale),
      ...each('relu', (i) => (terms[i].activation === 'relu' ? 1 : 0)),
    },
    workgroups: [Math.ceil(rows / ROWS), low / 4],
    output: [rows, D + low],
  });
}

type Variant = { readonly words: FloatWords; readonly terms: number };

const normLowShader = shaderFamily<Variant, Shader<string, string>>(
  ({ words, terms }) => `${words},${terms}`,
  (variant) => ({
    name: 'NormLow',
    inputs: {
      x: 'vec4<f32>',
      weight: 'vec4<f32>',
      ...Object.fromEntries(
        count(variant.terms).map((i): [string, Element] => [`a${i}`, elementOf(variant.words)]),
      ),
    },
    output: 'vec4<f32>',
    uniforms: {
      rows: 'u32',
      fours: 'u32', // of a row of x
      lows: 'u32', // fours of all low-rank terms
      eps: 'f32',
      ...Object.fromEntries(
        count(variant.terms).flatMap((i): [string, 'u32' | 'f32'][] => [
          [`start${i}`, 'u32'], // four of the lows where term i begins
          [`rank${i}`, 'u32'],
          [`scale${i}`, 'f32'],
          [`relu${i}`, 'u32'],
        ]),
      ),
    },
    code: codeOf(variant),
  }),
);

function codeOf({ words, terms }: Variant): string {
  const all = count(terms);
  const rows = count(ROWS);
  const four = count(4);
  const sums = ROWS * SUMS;
  const pick = (what: string): string =>
    all.slice(1).reduce((code, i) => `select(${code}, u.${what}${i}, term >= ${i}u)`, `u.${what}0`);
  return `
${all.map((i) => readRows(`a${i}At`, words, { buffer: `a${i}`, fours: 'u.fours', rows: `u.rank${i}` })).join('')}
fn downAt(term : u32, r : u32, c : u32) -> vec4<f32> {
  switch term {
    ${all.map((i) => `case ${i}u: { if (r < u.rank${i}) { return a${i}At(r, c); } }`).join('\n    ')}
    default: {}
  }
  return vec4<f32>();
}
var<workgroup> sums : array<f32, ${LANES * sums}>;
@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) group : vec3<u32>, @builtin(local_invocation_index) lane : u32) {
  let m = group.x * ${ROWS}u;
  var term = 0u;
  ${all
    .slice(1)
    .map((i) => `if (group.y >= u.start${i}) { term = ${i}u; }`)
    .join(' ')}
  let r = 4u * (group.y - ${pick('start')});
  ${count(sums)
    .map((i) => `var s${i} = 0.0;`)
    .join(' ')}
  for (var c = lane; c < u.fours; c += ${LANES}u) {
    let w = weight[c];
    ${four.map((j) => `let a${j}_ = w * downAt(term, r + ${j}u, c);`).join(' ')}
    ${rows
      .map(
        (i) => `if (m + ${i}u < u.rows) {
      let v = x[(m + ${i}u) * u.fours + c];
      s${SUMS * i} += dot(v, v); ${four.map((j) => `s${SUMS * i + 1 + j} += dot(v, a${j}_);`).join(' ')}
    }`,
      )
      .join('\n    ')}
  }
  ${count(sums)
    .map((i) => `sums[lane * ${sums}u + ${i}u] = s${i};`)
    .join(' ')}
  for (var step = ${LANES / 2}u; step > 0u; step >>= 1u) {
    workgroupBarrier();
    for (var i = lane; i < step * ${sums}u; i += ${LANES}u) { sums[i] += sums[i + step * ${sums}u]; }
  }
  workgroupBarrier();
  let width = u.fours + u.lows;
  let share = (u.fours + u.lows - 1u) / u.lows;
  for (var i = 0u; i < min(${ROWS}u, u.rows - m); i++) {
    let own = i * ${SUMS}u;
    let factor = inverseSqrt(sums[own] / f32(4u * u.fours) + u.eps);
    if (lane == 0u) {
      var low = factor * vec4<f32>(${four.map((j) => `sums[own + ${1 + j}u]`).join(', ')});
      if (${pick('relu')} != 0u) { low = max(low, vec4<f32>()); }
      result[(m + i) * width + u.fours + group.y] = ${pick('scale')} * low;
    }
    for (var c = group.y * share + lane; c < min((group.y + 1u) * share, u.fours); c += ${LANES}u) {
      result[(m + i) * width + c] = weight[c] * (x[(m + i) * u.fours + c] * factor);
    }
  }
}`;
}
