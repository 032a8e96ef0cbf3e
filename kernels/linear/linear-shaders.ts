import { count, type Element, type Shader, shaderFamily } from '../webgpu/shader.ts';

/** How the four values of one output, from column 4·c of its row on, lie in memory. */
export type WeightLayout = 'bfloat16Rows' | 'float32Rows' | 'float32Columns';

/** What is written into a shader of the product. All else is a uniform. */
export type Variant = {
  /** `rows`: a few rows of x, or a few outputs, each workgroup adds up long dot products. `tiles`: a block of outputs each. */
  readonly plan:
    | { readonly kind: 'rows'; readonly rows: number }
    | { readonly kind: 'tiles'; readonly per: number };
  readonly weight: WeightLayout;
  /** Layout of B, where a low-rank term is added. */
  readonly lora: WeightLayout | null;
  /** x has a multiple of four columns, and is read in fours. */
  readonly fours: boolean;
  readonly bias: boolean;
  readonly gate: boolean;
  readonly residual: boolean;
  readonly relu: boolean;
};

export type Uniform =
  | 'rows'
  | 'inSize'
  | 'fours'
  | 'outputs'
  | 'first'
  | 'part'
  | 'padding'
  | 'lowFours'
  | 'lowColumns'
  | 'scale';

const ELEMENTS: Readonly<Record<WeightLayout, Element>> = {
  bfloat16Rows: 'vec2<u32>',
  float32Rows: 'vec4<f32>',
  float32Columns: 'f32',
};

/**
 * y = scale · act(x Wᵀ + low Bᵀ + bias), gated and added.   x: [rows, inSize], W: rows `first` … `first + part` of [outputs, inSize]
 * A low-rank term is nothing but more columns: after x and W come low = scale · act(x A) and B, into the same sums.
 * Every output is added up in the same order whatever the layout, so that bfloat16 and float32 give the same bits.
 */
export const linearShader = shaderFamily<Variant, Shader<string, Uniform>>(
  (v) => JSON.stringify(v),
  (v) => ({
    name: 'Linear',
    inputs: {
      x: v.fours ? 'vec4<f32>' : 'f32',
      weight: ELEMENTS[v.weight],
      ...(v.lora && { low: 'vec4<f32>', loraB: ELEMENTS[v.lora] }),
      ...(v.bias && { bias: 'f32' }),
      ...(v.gate && { gate: 'f32' }),
      ...(v.residual && { residual: 'f32' }),
    },
    output: 'f32',
    uniforms: {
      rows: 'u32',
      inSize: 'u32',
      fours: 'u32', // of a row of x
      outputs: 'u32', // columns of y
      first: 'u32', // output that row 0 of the bound weight makes
      part: 'u32', // rows of the bound weight
      padding: 'u32', // columns of y after them that become zero
      lowFours: 'u32', // of a row of low
      lowColumns: 'u32', // its rank, without what fills up the last four
      scale: 'f32',
    },
    code: [
      inputCode(v),
      weightCode('weightAt', 'weight', v.weight, {
        fours: 'u.fours',
        columns: 'u.inSize',
        row: 'n',
        rows: 'u.part',
      }),
      v.lora ? lowCode(v.lora) : '',
      leaveCode(v),
      v.plan.kind === 'rows' ? rowsCode(v, v.plan.rows) : tilesCode(v, v.plan.per),
    ].join('\n'),
  }),
);

const inputCode = ({ fours }: Variant): string => `
fn inputAt(m : u32, c : u32) -> vec4<f32> {
  if (m >= u.rows || c >= u.fours) { return vec4<f32>(); }
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

/** The four values of row n (of the bound part) from column 4c on; zeros outside. */
function weightCode(
  name: string,
  buffer: string,
  layout: WeightLayout,
  { fours, columns, row, rows }: Readonly<Record<'fours' | 'columns' | 'row' | 'rows', string>>,
): string {
  const read = {
    bfloat16Rows: `let w = ${buffer}[(${row}) * ${fours} + c];
  return bitcast<vec4<f32>>(vec4<u32>(w.x << 16u, w.x & 0xffff0000u, w.y << 16u, w.y & 0xffff0000u));`,
    float32Rows: `return ${buffer}[(${row}) * ${fours} + c];`,
    float32Columns: `var v = vec4<f32>();
  for (var i = 0u; i < 4u; i++) {
    if (4u * c + i < ${columns}) { v[i] = ${buffer}[(4u * c + i) * ${rows} + (${row})]; }
  }
  return v;`,
  }[layout];
  return `
fn ${name}(n : u32, c : u32) -> vec4<f32> {
  if (n >= u.part || c >= ${fours}) { return vec4<f32>(); }
  ${read}
}`;
}

const lowCode = (layout: WeightLayout): string => `
fn lowAt(m : u32, c : u32) -> vec4<f32> {
  if (m >= u.rows || c >= u.lowFours) { return vec4<f32>(); }
  return low[m * u.lowFours + c];
}
${weightCode('loraAt', 'loraB', layout, {
  fours: 'u.lowFours',
  columns: 'u.lowColumns',
  row: 'u.first + n',
  rows: 'u.outputs',
})}`;

/** Row n of the bound part gives column first + n of y. */
const leaveCode = ({ bias, gate, residual, relu }: Variant): string => `
fn leave(m : u32, n : u32, sum : f32) {
  if (m >= u.rows || n >= u.part + u.padding) { return; }
  let column = u.first + n;
  let at = m * u.outputs + column;
  var y = sum;
  ${bias ? 'y += bias[column];' : ''}
  ${relu ? 'y = max(y, 0.0);' : ''}
  y *= u.scale;
  ${gate ? 'let g = gate[at]; y *= g / (1.0 + exp(-g));' : ''}
  ${residual ? 'y += residual[at];' : ''}
  result[at] = y;
}`;

export const LANES = 64; // of a workgroup, in both plans
export const COLUMNS = 4; // outputs of a workgroup in the `rows` plan

/** Lanes stride over the columns; their sums are added up in workgroup memory as a tree. */
function rowsCode({ lora }: Variant, rows: number): string {
  const sums = rows * COLUMNS;
  const loop = (a: string, b: string, fours: string) => `
  for (var c = lane; c < ${fours}; c += ${LANES}u) {
    ${count(COLUMNS)
      .map((j) => `let w${j} = ${b}(n + ${j}u, c);`)
      .join(' ')}
    ${count(rows)
      .map(
        (i) =>
          `{ let a = ${a}(m + ${i}u, c); ${count(COLUMNS)
            .map((j) => `s${i * COLUMNS + j} = fours(a, w${j}, s${i * COLUMNS + j});`)
            .join(' ')} }`,
      )
      .join('\n    ')}
  }`;
  return `
var<workgroup> sums : array<f32, ${LANES * sums}>;
${FOURS}
@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) group : vec3<u32>, @builtin(local_invocation_index) lane : u32) {
  let n = group.x * ${COLUMNS}u;
  let m = group.y * ${rows}u;
  ${count(sums)
    .map((i) => `var s${i} = 0.0;`)
    .join(' ')}
  ${loop('inputAt', 'weightAt', 'u.fours')}
  ${lora ? loop('lowAt', 'loraAt', 'u.lowFours') : ''}
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

const DEEP = 4; // fours of the inner dimension that a tile holds
export const SIDE = 8; // lanes along each side of a tile

/** per × per outputs a lane, in a tile of 8·per × 8·per; lane (i, j) has rows i + 8·r and columns j + 8·s. */
function tilesCode({ lora }: Variant, per: number): string {
  const side = SIDE * per;
  const loads = (side * DEEP) / LANES;
  const all = count(per);
  const loop = (a: string, b: string, fours: string) => `
  for (var k = 0u; k < ${fours}; k += ${DEEP}u) {
    for (var s = 0u; s < ${loads}u; s++) {
      let i = lane + s * ${LANES}u;
      let row = i / ${DEEP}u;
      let c = i % ${DEEP}u;
      inputs[c * ${side}u + row] = ${a}(m0 + row, k + c);
      weights[c * ${side}u + row] = ${b}(n0 + row, k + c);
    }
    workgroupBarrier();
    for (var c = 0u; c < ${DEEP}u; c++) {
      ${all.map((j) => `let w${j} = weights[c * ${side}u + tx + ${j * SIDE}u];`).join(' ')}
      ${all
        .map(
          (i) =>
            `{ let a = inputs[c * ${side}u + ty + ${i * SIDE}u]; ${all.map((j) => `s${i}_${j} = fours(a, w${j}, s${i}_${j});`).join(' ')} }`,
        )
        .join('\n      ')}
    }
    workgroupBarrier();
  }`;
  return `
var<workgroup> inputs : array<vec4<f32>, ${side * DEEP}>;
var<workgroup> weights : array<vec4<f32>, ${side * DEEP}>;
${FOURS}
@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) group : vec3<u32>, @builtin(local_invocation_index) lane : u32) {
  let tx = lane % ${SIDE}u;
  let ty = lane / ${SIDE}u;
  let n0 = group.x * ${side}u;
  let m0 = group.y * ${side}u;
  ${all.map((i) => all.map((j) => `var s${i}_${j} = 0.0;`).join(' ')).join('\n  ')}
  ${loop('inputAt', 'weightAt', 'u.fours')}
  ${lora ? loop('lowAt', 'loraAt', 'u.lowFours') : ''}
  ${all.map((i) => all.map((j) => `leave(m0 + ty + ${i * SIDE}u, n0 + tx + ${j * SIDE}u, s${i}_${j});`).join(' ')).join('\n  ')}
}`;
}

const FOURS = `
fn fours(a : vec4<f32>, w : vec4<f32>, sum : f32) -> f32 {
  return fma(a.w, w.w, fma(a.z, w.z, fma(a.y, w.y, fma(a.x, w.x, sum))));
}`;
