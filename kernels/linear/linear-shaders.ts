import { count, fieldsKey, type Shader, shaderFamily } from '../webgpu/shader.ts';
import { COLUMNS_A_LANE, columnsCode } from './columns-code.ts';
import { elementOf, readFours, type WeightLayout } from './weight-layouts.ts';

/**
 * How the work is shared out. `rows`: a few rows of x, or a few outputs, each workgroup adds up long dot products. `tiles`: a block
 * of outputs each. `columns`: whole columns of so many rows for each lane, on a GPU that is emulated.
 */
export type Plan =
  | { readonly kind: 'rows'; readonly rows: number }
  | { readonly kind: 'tiles'; readonly per: number }
  | { readonly kind: 'columns'; readonly rows: number };

/** What is written into a shader of the product. All else is a uniform. */
export type Variant = {
  readonly plan: Plan;
  readonly weight: WeightLayout;
  /** Layout of the low-rank term's B. Without such a term: any. */
  readonly lora: WeightLayout;
  /** x has a multiple of four columns, and is read in fours. */
  readonly fours: boolean;
};

/** Bits of the uniform `flags`: what a result meets on its way out. Not in the variant, since shaders take long to compile. */
export const Flag = { bias: 1, relu: 2, gate: 4, residual: 8 } as const;

export type Uniform =
  | 'rows'
  | 'inSize'
  | 'fours'
  | 'split'
  | 'depth'
  | 'outputs'
  | 'first'
  | 'part'
  | 'padding'
  | 'begin'
  | 'end'
  | 'lowFours'
  | 'lowColumns'
  | 'scale'
  | 'flags';

/**
 * y = scale · act(x Wᵀ + low Bᵀ + bias), gated and added.   x: [rows, inSize], W: rows `first` … `first + part` of [outputs, inSize]
 * A low-rank term is nothing but more columns: after those of x and W come low = scale · act(x A) and B, in the same sums.
 * Every output is added up in the same order whatever the layout, so that packed words and the float32
 * values that they stand for give the same bits.
 */
export const linearShader = shaderFamily<Variant, Shader<string, Uniform>>(fieldsKey, (v) => ({
  name: 'Linear',
  inputs: {
    x: v.fours ? 'vec4<f32>' : 'f32',
    weight: elementOf(v.weight),
    low: 'vec4<f32>',
    loraB: elementOf(v.lora),
    bias: 'f32',
    gate: 'f32',
    residual: 'f32',
  },
  output: 'f32',
  uniforms: {
    rows: 'u32',
    inSize: 'u32',
    fours: 'u32', // of a row of x
    split: 'u32', // four from which on low is read: `fours`, or where the next tile begins
    depth: 'u32', // fours in all
    outputs: 'u32', // columns of y
    first: 'u32', // output that row 0 of the bound weight makes
    part: 'u32', // rows of the bound weight
    padding: 'u32', // columns of y after them that become zero
    begin: 'u32', // rows of y before it, and from `end` on, become zero
    end: 'u32',
    lowFours: 'u32', // of a row of low
    lowColumns: 'u32', // its rank, without what fills up the last four
    scale: 'f32',
    flags: 'u32',
  },
  code: [inputCode(v), weightCode(v), leaveCode, FOURS, mainCode(v.plan)].join('\n'),
}));

/** Four values of row m, of x and then of low; zeros outside. */
const inputCode = ({ fours }: Variant): string => `
fn inputAt(m : u32, c : u32) -> vec4<f32> {
  if (m >= u.rows || c >= u.depth) { return vec4<f32>(); }
  if (c >= u.split) { return low[m * u.lowFours + c - u.split]; }
  if (c >= u.fours) { return vec4<f32>(); }
  ${
    fours
      ? 'return x[m * u.fours + c];'
      : `var v = vec4<f32>();
  for (var i = 0u; i < 4u; i++) {
    if (4u * c + i < u.inSize) { v[i] = x[m * u.inSize + 4u * c + i]; }
  }
  return v;`
  }
}`;

/** Four values of row n of the bound part, of W and then of B; zeros outside. */
const weightCode = ({ weight, lora }: Variant): string => `
${readFours('loraAt', lora, { buffer: 'loraB', fours: 'u.lowFours', columns: 'u.lowColumns', rows: 'u.outputs' })}
${readFours('ownAt', weight, { buffer: 'weight', fours: 'u.fours', columns: 'u.inSize', rows: 'u.part' })}
fn weightAt(n : u32, c : u32) -> vec4<f32> {
  if (n >= u.part || c >= u.depth) { return vec4<f32>(); }
  if (c >= u.split) { return loraAt(u.first + n, c - u.split); }
  if (c >= u.fours) { return vec4<f32>(); }
  return ownAt(n, c);
}`;

/** Row n of the bound part gives column first + n of y. */
const leaveCode = `
fn leave(m : u32, n : u32, sum : f32) {
  if (m >= u.rows || n >= u.part + u.padding) { return; }
  let column = u.first + n;
  let at = m * u.outputs + column;
  var y = sum;
  if ((u.flags & ${Flag.bias}u) != 0u) { y += bias[column]; }
  if ((u.flags & ${Flag.relu}u) != 0u) { y = max(y, 0.0); }
  y = select(0.0, y * u.scale, u.begin <= m && m < u.end);
  if ((u.flags & ${Flag.gate}u) != 0u) { let g = gate[at]; y *= g / (1.0 + exp(-g)); }
  if ((u.flags & ${Flag.residual}u) != 0u) { y += residual[at]; }
  result[at] = y;
}`;

export const LANES = 64; // of a workgroup, in both plans
export const COLUMNS = 4; // outputs of a workgroup in the `rows` plan

function mainCode(plan: Plan): string {
  if (plan.kind === 'rows') return rowsCode(plan.rows);
  if (plan.kind === 'tiles') return tilesCode(plan.per);
  return columnsCode(plan.rows, {
    columns: `let n = group.x * ${COLUMNS_A_LANE * LANES}u + lane; let o = n + ${LANES}u;`,
    stretches: [
      {
        fours: 'u.fours',
        input: (m) => `x[${m} * u.fours + c]`,
        weights: ['weightAt(n, c)', 'weightAt(o, c)'],
      },
      {
        fours: 'u.lowFours',
        input: (m) => `low[${m} * u.lowFours + c]`,
        weights: ['weightAt(n, u.split + c)', 'weightAt(o, u.split + c)'],
      },
    ],
    leave: 'leave(m, n, one); leave(m, o, two);',
  });
}

/** Columns and rows that a workgroup makes. */
export const blockOf = (plan: Plan): readonly [columns: number, rows: number] => {
  if (plan.kind === 'rows') return [COLUMNS, plan.rows];
  if (plan.kind === 'tiles') return [SIDE * plan.per, SIDE * plan.per];
  return [COLUMNS_A_LANE * LANES, plan.rows];
};

/** Lanes stride over the columns: s0, s1, … are the sums of a lane, row by row. */
export function longSums(rows: number): string {
  const columns = count(COLUMNS);
  const add = (i: number) =>
    columns.map((j) => `s${i * COLUMNS + j} = fours(a, w${j}, s${i * COLUMNS + j});`).join(' ');
  return `
  let n = group.x * ${COLUMNS}u;
  let m = group.y * ${rows}u;
  ${count(rows * COLUMNS)
    .map((i) => `var s${i} = 0.0;`)
    .join(' ')}
  for (var c = lane; c < u.depth; c += ${LANES}u) {
    ${columns.map((j) => `let w${j} = weightAt(n + ${j}u, c);`).join(' ')}
    ${count(rows)
      .map((i) => `{ let a = inputAt(m + ${i}u, c); ${add(i)} }`)
      .join('\n    ')}
  }`;
}

/** The sums of all lanes are added up in workgroup memory as a tree. */
function rowsCode(rows: number): string {
  const sums = rows * COLUMNS;
  return `
var<workgroup> sums : array<f32, ${LANES * sums}>;
@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) group : vec3<u32>, @builtin(local_invocation_index) lane : u32) {
  ${longSums(rows)}
  ${count(sums)
    .map((i) => `sums[lane * ${sums}u + ${i}u] = s${i};`)
    .join(' ')}
  for (var step = ${LANES / 2}u; step > 0u; step >>= 1u) {
    workgroupBarrier();
    for (var i = lane; i < step * ${sums}u; i += ${LANES}u) { sums[i] += sums[i + step * ${sums}u]; }
  }
  workgroupBarrier();
  if (lane < ${sums}u) { leave(m + lane / ${COLUMNS}u, n + lane % ${COLUMNS}u, sums[lane]); }
}`;
}

/** Fours of the inner dimension that a tile holds. */
export const DEEP = 4;
export const SIDE = 8; // lanes along each side of a tile

/**
 * per × per outputs a lane, in a tile of 8·per × 8·per; lane (tx, ty) has rows ty + 8i and columns tx + 8j. Written out, so that
 * sums stay in registers; `leave` is not, which would be most of the code.
 */
function tilesCode(per: number): string {
  const side = SIDE * per;
  const all = count(per);
  const add = (i: number) => all.map((j) => `s${i}_${j} = fours(a, w${j}, s${i}_${j});`).join(' ');
  return `
var<workgroup> inputs : array<vec4<f32>, ${side * DEEP}>;
var<workgroup> weights : array<vec4<f32>, ${side * DEEP}>;
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
      inputs[c * ${side}u + row] = inputAt(m0 + row, k + c);
      weights[c * ${side}u + row] = weightAt(n0 + row, k + c);
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
    leave(m0 + ty + ${SIDE}u * (i / ${per}u), n0 + tx + ${SIDE}u * (i % ${per}u), all[i]);
  }
}`;
}

/** WGSL: `fours(a, w, sum)`, four products added to a sum, in their order. */
export const FOURS = `
fn fours(a : vec4<f32>, w : vec4<f32>, sum : f32) -> f32 {
  return fma(a.w, w.w, fma(a.z, w.z, fma(a.y, w.y, fma(a.x, w.x, sum))));
}`;

export { inputCode, leaveCode, weightCode };
