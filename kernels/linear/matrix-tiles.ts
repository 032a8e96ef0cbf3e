import type { Limits } from '../webgpu/limits.ts';
import type { MatrixShape, Offers } from '../webgpu/offers.ts';
import { count, fieldsKey, type Shader, shaderFamily } from '../webgpu/shader.ts';
import { type HalfInput, halfShader } from './half-shaders.ts';
import type { Uniform, Variant } from './linear-shaders.ts';

/** What is written into a shader of subgroup matrices. */
export type MatrixPlan = {
  /** The hardware's matrices. */
  readonly shape: MatrixShape;
  /** Lanes of a workgroup: a multiple of the largest subgroup, and as many subgroups as parts where they have their usual size. */
  readonly lanes: number;
  /** Rows of a tile: 32 or 64. */
  readonly rows: number;
};

export const MATRIX_COLUMNS = 64; // of a tile
const PARTS = 4; // of a tile, 2 × 2: one for each subgroup
const PART_COLUMNS = MATRIX_COLUMNS / 2;
const DEEP = 32; // columns of x that are in workgroup memory at once
const STRIDE = DEEP + 8; // of their rows there, so that rows do not meet in one bank
const USUAL_SUBGROUP = 32;
const TILES = [64, 32];

/** The plan for a device and a number of rows; null where it offers no matrices that fit into the tiles, or too few lanes. */
export function matrixPlanOf(
  { subgroups, matrices }: Offers,
  rows: number,
  limits: Pick<Limits, 'maxComputeInvocationsPerWorkgroup' | 'maxComputeWorkgroupSizeX'>,
): MatrixPlan | null {
  const shape = matrices.find(({ M, N, K }) => 16 % M === 0 && PART_COLUMNS % N === 0 && DEEP % K === 0);
  if (!shape || !subgroups) return null;
  const { least, most } = subgroups;
  const lanes = Math.max(most, PARTS * Math.min(most, Math.max(least, USUAL_SUBGROUP)));
  if (lanes > Math.min(limits.maxComputeInvocationsPerWorkgroup, limits.maxComputeWorkgroupSizeX))
    return null;
  return { shape, lanes, rows: rows > TILES[1] ? TILES[0] : TILES[1] };
}

/** The `tiles` plan with `chromium-experimental-subgroup-matrix`: float16 matrices, float32 sums. */
export const matrixTilesShader = shaderFamily<
  { readonly variant: Variant; readonly plan: MatrixPlan },
  Shader<HalfInput, Uniform>
>(
  ({ variant: { weight, lora }, plan }) => fieldsKey({ weight, lora, plan }),
  ({ variant, plan }) =>
    halfShader(variant, {
      name: 'Linear (matrix)',
      directives: [
        'enable f16;',
        'enable subgroups;',
        'enable chromium_experimental_subgroup_matrix;',
        // Lanes of a subgroup go the same way, which only a person can see.
        'diagnostic(off, chromium.subgroup_matrix_uniformity);',
      ],
      main: mainCode(plan),
    }),
);

/**
 * A subgroup takes a part of the tile at a time, all of its columns of x. Where subgroups are larger than usual there are fewer
 * of them than parts, and they go round again; where they are smaller, some are idle.
 */
function mainCode({ shape: { M, N, K }, lanes, rows }: MatrixPlan): string {
  const partRows = rows / 2;
  const down = count(partRows / M);
  const across = count(PART_COLUMNS / N);
  const fours = DEEP / 4;
  const strip = M * PART_COLUMNS; // results of a part that leave together
  // Zeros are written out: in a second round Dawn's variables of this kind still hold the sums of the first.
  const zeros = `subgroup_matrix_result<f32, ${N}, ${M}>(0)`;
  const all = (rows: readonly number[], line: (i: number) => string): string =>
    rows.map(line).join('\n      ');
  const stage = (to: string, length: number, four: string): string => `
      for (var i = lane; i < ${length * fours}u; i += ${lanes}u) {
        let row = i / ${fours}u;
        let c = i % ${fours}u;
        let v = ${four};
        let at = row * ${STRIDE}u + 4u * c;
        ${to}[at] = v.x; ${to}[at + 1u] = v.y; ${to}[at + 2u] = v.z; ${to}[at + 3u] = v.w;
      }`;
  const load = (side: string, order: string, from: string): string =>
    `subgroupMatrixLoad<subgroup_matrix_${side}, ${order}>(${from}, ${STRIDE}u)`;
  const left = (i: number) =>
    load(`left<f16, ${K}, ${M}>`, 'row_major', `&inputs, rowsAt + ${i * M * STRIDE}u + c`);
  const right = (j: number) =>
    load(`right<f16, ${N}, ${K}>`, 'col_major', `&weights, columnsAt + ${j * N * STRIDE}u + c`);
  return `
var<workgroup> inputs : array<f16, ${rows * STRIDE}>;
var<workgroup> weights : array<f16, ${MATRIX_COLUMNS * STRIDE}>;
var<workgroup> sums : array<f32, ${PARTS * strip}>;

/** Parts begin … end, of each the same ${M} rows. */
fn leaveStrip(m : u32, n : u32, begin : u32, end : u32, lane : u32) {
  for (var i = begin * ${strip}u + lane; i < end * ${strip}u; i += ${lanes}u) {
    let part = i / ${strip}u;
    let row = (part / 2u) * ${partRows}u + (i % ${strip}u) / ${PART_COLUMNS}u;
    leaveHalf(m + row, n + (part % 2u) * ${PART_COLUMNS}u + i % ${PART_COLUMNS}u, sums[i]);
  }
}

@compute @workgroup_size(${lanes})
fn main(
  @builtin(workgroup_id) group : vec3<u32>,
  @builtin(local_invocation_index) lane : u32,
  @builtin(subgroup_size) size : u32,
) {
  let n0 = group.x * ${MATRIX_COLUMNS}u;
  let m0 = group.y * ${rows}u;
  let subgroups = ${lanes}u / size;
  for (var round = 0u; round * subgroups < ${PARTS}u; round++) {
    let own = round * subgroups + lane / size;
    let part = min(own, ${PARTS - 1}u);
    let rowsAt = (part / 2u) * ${partRows * STRIDE}u;
    let columnsAt = (part % 2u) * ${PART_COLUMNS * STRIDE}u;
    ${all(down, (i) => across.map((j) => `var s${i}_${j} = ${zeros};`).join(' '))}
    for (var k = 0u; k < u.depth; k += ${fours}u) {${stage('inputs', rows, 'halfInputAt(m0 + row, k + c)')}${stage('weights', MATRIX_COLUMNS, 'halfWeightAt(n0 + row, k + c)')}
      workgroupBarrier();
      for (var c = 0u; c < ${DEEP}u; c += ${K}u) {
      ${all(across, (j) => `let w${j} = ${right(j)};`)}
      ${all(down, (i) => `{ let a = ${left(i)}; ${across.map((j) => `s${i}_${j} = subgroupMatrixMultiplyAccumulate(a, w${j}, s${i}_${j});`).join(' ')} }`)}
      }
      workgroupBarrier();
    }
    ${down
      .map(
        (i) => `if (own < ${PARTS}u) {
      ${all(across, (j) => `subgroupMatrixStore<row_major>(&sums, part * ${strip}u + ${j * N}u, s${i}_${j}, ${PART_COLUMNS}u);`)}
    }
    workgroupBarrier();
    leaveStrip(m0 + ${i * M}u, n0, round * subgroups, min(${PARTS}u, (round + 1u) * subgroups), lane);
    workgroupBarrier();`,
      )
      .join('\n    ')}
  }
}`;
}
