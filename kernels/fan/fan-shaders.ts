import { columnsCode } from '../linear/columns-code.ts';
import { COLUMNS, DEEP, FOURS, LANES, type Plan, SIDE } from '../linear/linear-shaders.ts';
import { widened } from '../linear/weight-layouts.ts';
import { count, type Element, fieldsKey, type Shader, shaderFamily } from '../webgpu/shader.ts';
import { elementOf, type FloatWords, readRows, type Words } from './row-words.ts';

/** What is written into a shader. All else is a uniform. */
export type Variant = {
  readonly plan: Plan;
  /** `heads`: maps side by side, turned in pairs. `gated`: two maps, whose columns meet in pairs. */
  readonly kind: 'heads' | 'gated';
  /** Words of each map's matrix. */
  readonly weights: readonly Words[];
  /** Words of the terms' B. Without terms: any. */
  readonly up: FloatWords;
};

export const Flag = { bias: 1, second: 2 } as const;

/**
 * Several maps of the same rows: y = [normed | lows] · [Wᵢ | 0 … Bᵢ … 0]ᵀ, where each map meets only its own part of the lows.
 * Columns go in pairs that leave together, so that what needs both is done before they are written: columns j and j + H/2 of a
 * head, which rotary embedding turns, or column j of gate and of up. A tile holds the firsts of its pairs, then the seconds.
 */
export const fanShader = shaderFamily<Variant, Shader<string, string>>(fieldsKey, (v) => {
  const each = <T>(what: string, value: T): Record<string, T> =>
    Object.fromEntries(v.weights.map((_, i) => [`${what}${i}`, value]));
  return {
    name: v.kind === 'heads' ? 'Heads' : 'Gated',
    inputs: {
      x: 'vec4<f32>',
      ...Object.fromEntries(v.weights.map((words, i) => [`weight${i}`, elementOf(words)])),
      ...(v.kind === 'heads'
        ? { more: 'vec2<u32>' as Element, cosines: 'f32' as Element, sines: 'f32' as Element }
        : { ...each('up', elementOf(v.up)), ...each<Element>('bias', 'f32') }),
    },
    output: 'f32',
    uniforms: {
      rows: 'u32',
      fours: 'u32', // of a normed row
      depth: 'u32', // and of the lows behind it
      pairs: 'u32',
      outputs: 'u32', // columns of y
      flags: 'u32',
      ...each('low', 'u32' as const), // four where a map's lows begin
      ...each('lows', 'u32' as const), // fours of them
      ...(v.kind === 'heads' && {
        half: 'u32' as const, // of a head
        turned: 'u32' as const, // columns of y that are turned
        biasAt: 'u32' as const, // two-word element of `more` where the biases begin
        ...each('first', 'u32' as const), // column of y where a map begins
        ...each('moreAt', 'u32' as const), // element of `more` where its B begins
      }),
    },
    code: [
      inputCode,
      v.kind === 'heads' ? headsCode(v) : gatedCode(v),
      weightCode(v),
      FOURS,
      mainCode(v.plan),
    ].join('\n'),
  };
});

const inputCode = `
fn inputAt(m : u32, c : u32) -> vec4<f32> {
  if (m >= u.rows || c >= u.depth) { return vec4<f32>(); }
  return x[m * u.depth + c];
}`;

const NO_MAP = '9u';

/** The first or second of pair p as a map and its row; and what a pair meets on its way out. */
const headsCode = ({ weights: { length: maps }, up }: Variant): string => `
fn rowOf(p : u32, second : u32) -> vec2<u32> {
  if (p >= u.pairs) { return vec2<u32>(${NO_MAP}, 0u); }
  let column = p + (p / u.half + second) * u.half;
  ${count(maps)
    .slice(1)
    .reverse()
    .map((i) => `if (column >= u.first${i}) { return vec2<u32>(${i}u, column - u.first${i}); }`)
    .join('\n  ')}
  return vec2<u32>(0u, column);
}
fn upAt(row : vec2<u32>, lows : u32, c : u32) -> vec4<f32> {
  let at = row.y * lows + c;
  let begin = ${pick('moreAt', maps, 'row.x')};
  ${
    up === 'float32'
      ? 'return bitcast<vec4<f32>>(vec4<u32>(more[begin + 2u * at], more[begin + 2u * at + 1u]));'
      : `let w = more[begin + at];
  return ${widened(up, 'w')};`
  }
}
fn leave(m : u32, p : u32, one : f32, two : f32) {
  if (m >= u.rows || p >= u.pairs) { return; }
  let column = p + p / u.half * u.half;
  var a = one;
  var b = two;
  if ((u.flags & ${Flag.bias}u) != 0u) {
    a += bitcast<f32>(more[u.biasAt + column / 2u][column % 2u]);
    b += bitcast<f32>(more[u.biasAt + (column + u.half) / 2u][(column + u.half) % 2u]);
  }
  let at = m * u.outputs + column;
  if (column < u.turned) {
    let angle = m * 2u * u.half + p % u.half;
    result[at] = a * cosines[angle] - b * sines[angle];
    result[at + u.half] = b * cosines[angle + u.half] + a * sines[angle + u.half];
  } else {
    result[at] = a;
    result[at + u.half] = b;
  }
}`;

const gatedCode = ({ up }: Variant): string => `
${readRows('up0At', up, { buffer: 'up0', fours: 'u.lows0', rows: 'u.outputs' })}
${readRows('up1At', up, { buffer: 'up1', fours: 'u.lows1', rows: 'u.outputs' })}
fn rowOf(p : u32, second : u32) -> vec2<u32> { return vec2<u32>(select(second, ${NO_MAP}, p >= u.pairs), p); }
fn upAt(row : vec2<u32>, lows : u32, c : u32) -> vec4<f32> {
  if (row.x == 0u) { return up0At(row.y, c); }
  return up1At(row.y, c);
}
fn leave(m : u32, p : u32, one : f32, two : f32) {
  if (m >= u.rows || p >= u.pairs) { return; }
  var g = one;
  var y = two;
  if ((u.flags & ${Flag.bias}u) != 0u) { g += bias0[p]; }
  if ((u.flags & ${Flag.second}u) != 0u) { y += bias1[p]; }
  result[m * u.outputs + p] = y * (g / (1.0 + exp(-g)));
}`;

const pick = (what: string, maps: number, map: string): string =>
  count(maps)
    .slice(1)
    .reduce((code, i) => `select(${code}, u.${what}${i}, ${map} >= ${i}u)`, `u.${what}0`);

/** Four values of a map's row, of W and then, where its own lows are, of B; zeros outside. */
const weightCode = ({ weights, kind }: Variant): string => `
${weights
  .map((words, i) =>
    readRows(`weight${i}At`, words, {
      buffer: `weight${i}`,
      fours: 'u.fours',
      rows:
        kind === 'gated'
          ? 'u.outputs'
          : `(${i + 1 < weights.length ? `u.first${i + 1}` : 'u.outputs'} - u.first${i})`,
    }),
  )
  .join('')}
fn weightAt(row : vec2<u32>, c : u32) -> vec4<f32> {
  if (row.x == ${NO_MAP}) { return vec4<f32>(); }
  if (c < u.fours) {
    switch row.x {
      ${count(weights.length)
        .slice(1)
        .map((i) => `case ${i}u: { return weight${i}At(row.y, c); }`)
        .join('\n      ')}
      default: { return weight0At(row.y, c); }
    }
  }
  let low = c - u.fours;
  let begin = ${pick('low', weights.length, 'row.x')};
  let lows = ${pick('lows', weights.length, 'row.x')};
  if (low < begin || low >= begin + lows) { return vec4<f32>(); }
  return upAt(row, lows, low - begin);
}`;

function mainCode(plan: Plan): string {
  if (plan.kind === 'rows') return rowsCode(plan.rows);
  if (plan.kind === 'tiles') return tilesCode(plan.per);
  return columnsCode(plan.rows, {
    columns: `let p = group.x * ${LANES}u + lane; let r0 = rowOf(p, 0u); let r1 = rowOf(p, 1u);`,
    stretches: [
      {
        fours: 'u.depth',
        input: (m) => `x[${m} * u.depth + c]`,
        weights: ['weightAt(r0, c)', 'weightAt(r1, c)'],
      },
    ],
    leave: 'leave(m, p, one, two);',
  });
}

const PAIRS = COLUMNS / 2; // of a workgroup in the `rows` plan

/** Lanes stride over the columns; their sums are added up in workgroup memory as a tree. */
function rowsCode(rows: number): string {
  const columns = count(COLUMNS);
  const sums = rows * COLUMNS;
  const add = (i: number) =>
    columns.map((j) => `s${i * COLUMNS + j} = fours(a, w${j}, s${i * COLUMNS + j});`).join(' ');
  return `
var<workgroup> sums : array<f32, ${LANES * sums}>;
@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) group : vec3<u32>, @builtin(local_invocation_index) lane : u32) {
  let p = group.x * ${PAIRS}u;
  let m = group.y * ${rows}u;
  ${columns.map((j) => `let r${j} = rowOf(p + ${j % PAIRS}u, ${Math.floor(j / PAIRS)}u);`).join(' ')}
  ${count(sums)
    .map((i) => `var s${i} = 0.0;`)
    .join(' ')}
  for (var c = lane; c < u.depth; c += ${LANES}u) {
    ${columns.map((j) => `let w${j} = weightAt(r${j}, c);`).join(' ')}
    ${count(rows)
      .map((i) => `{ let a = inputAt(m + ${i}u, c); ${add(i)} }`)
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
  if (lane < ${rows * PAIRS}u) {
    let at = lane / ${PAIRS}u * ${COLUMNS}u + lane % ${PAIRS}u;
    leave(m + lane / ${PAIRS}u, p + lane % ${PAIRS}u, sums[at], sums[at + ${PAIRS}u]);
  }
}`;
}

/**
 * per × per outputs a lane, in a tile of 8·per × 8·per; lane (tx, ty) has rows ty + 8i and the pairs tx + 8j, whose seconds are
 * half a tile further. Which rows of which weights a lane brings is found out once.
 */
function tilesCode(per: number): string {
  const side = SIDE * per;
  const all = count(per);
  const half = all.slice(0, per / 2);
  const brought = count((side * DEEP) / LANES);
  const step = LANES / DEEP; // rows of a tile that all lanes bring together
  const add = (i: number) => all.map((j) => `s${i}_${j} = fours(a, w${j}, s${i}_${j});`).join(' ');
  return `
var<workgroup> inputs : array<vec4<f32>, ${side * DEEP}>;
var<workgroup> weights : array<vec4<f32>, ${side * DEEP}>;
@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) group : vec3<u32>, @builtin(local_invocation_index) lane : u32) {
  let tx = lane % ${SIDE}u;
  let ty = lane / ${SIDE}u;
  let p0 = group.x * ${side / 2}u;
  let m0 = group.y * ${side}u;
  let row = lane / ${DEEP}u;
  let c = lane % ${DEEP}u;
  let to = c * ${side}u + row;
  ${brought.map((b) => `let r${b} = rowOf(p0 + (row + ${b * step}u) % ${side / 2}u, (row + ${b * step}u) / ${side / 2}u);`).join('\n  ')}
  ${all.map((i) => all.map((j) => `var s${i}_${j} = 0.0;`).join(' ')).join('\n  ')}
  for (var k = 0u; k < u.depth; k += ${DEEP}u) {
    ${brought.map((b) => `inputs[to + ${b * step}u] = inputAt(m0 + row + ${b * step}u, k + c);`).join('\n    ')}
    ${brought.map((b) => `weights[to + ${b * step}u] = weightAt(r${b}, k + c);`).join('\n    ')}
    workgroupBarrier();
    for (var c = 0u; c < ${DEEP}u; c++) {
      ${all.map((j) => `let w${j} = weights[c * ${side}u + tx + ${j * SIDE}u];`).join(' ')}
      ${all.map((i) => `{ let a = inputs[c * ${side}u + ty + ${i * SIDE}u]; ${add(i)} }`).join('\n      ')}
    }
    workgroupBarrier();
  }
  var ones = array<f32, ${(per * per) / 2}>(${all.flatMap((i) => half.map((j) => `s${i}_${j}`)).join(', ')});
  var twos = array<f32, ${(per * per) / 2}>(${all.flatMap((i) => half.map((j) => `s${i}_${j + per / 2}`)).join(', ')});
  for (var i = 0u; i < ${(per * per) / 2}u; i++) {
    leave(m0 + ty + ${SIDE}u * (i / ${per / 2}u), p0 + tx + ${SIDE}u * (i % ${per / 2}u), ones[i], twos[i]);
  }
}`;
}
