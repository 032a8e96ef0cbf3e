import { count } from '../webgpu/shader.ts';
import { LANES } from './linear-shaders.ts';

/** A stretch of the sums of a product, and where it is read: `c` counts its fours. */
type Stretch = {
  readonly fours: string;
  /** Four values of row `m` of x, of the same row for all lanes. */
  readonly input: (m: string) => string;
  /** Four values of this lane's first and second column. */
  readonly weights: readonly [string, string];
};

/** What each lane of a workgroup of this plan makes: so many rows of two columns. */
export const COLUMNS_A_LANE = 2;

/**
 * WGSL of the `columns` plan: a lane has whole columns, so nothing is shared and nobody waits. Values of x are at one address for
 * all lanes, which an emulated GPU reads once; tiles in workgroup memory are read lane by lane there, which is most of its
 * time. (A real GPU gets its tiles for almost nothing, and here would read each weight in a line of its own.)
 */
export function columnsCode(
  rows: number,
  { columns, stretches, leave }: { columns: string; stretches: readonly Stretch[]; leave: string },
): string {
  const all = count(rows);
  return `
@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) group : vec3<u32>, @builtin(local_invocation_index) lane : u32) {
  let m0 = group.y * ${rows}u;
  ${columns}
  ${all.map((i) => `let m${i}_ = min(m0 + ${i}u, u.rows - 1u); var s${i} = 0.0; var t${i} = 0.0;`).join('\n  ')}
  ${stretches
    .map(
      ({ fours, input, weights: [one, two] }) => `for (var c = 0u; c < ${fours}; c++) {
    let w = ${one};
    let v = ${two};
    ${all.map((i) => `{ let a = ${input(`m${i}_`)}; s${i} = fours(a, w, s${i}); t${i} = fours(a, v, t${i}); }`).join('\n    ')}
  }`,
    )
    .join('\n  ')}
  var ones = array<f32, ${rows}>(${all.map((i) => `s${i}`).join(', ')});
  var twos = array<f32, ${rows}>(${all.map((i) => `t${i}`).join(', ')});
  for (var i = 0u; i < ${rows}u; i++) {
    let m = m0 + i;
    let one = ones[i];
    let two = twos[i];
    ${leave}
  }
}`;
}
