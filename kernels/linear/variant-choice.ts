import { type KernelSettings, kernelSettings, type Way } from '../product-settings.ts';
import { webgpuBackend } from '../webgpu/backend.ts';
import { isEmulated } from '../webgpu/emulation.ts';
import { limitsOf } from '../webgpu/limits.ts';
import { type Offers, offersOf } from '../webgpu/offers.ts';
import { blockOf, type Plan, SIDE, type Variant } from './linear-shaders.ts';
import { MATRIX_COLUMNS, type MatrixPlan, matrixPlanOf } from './matrix-tiles.ts';

/**
 * Which way a product goes, first choice first, by plan and rows of x (the first line that fits). A way that the device or the
 * settings do not allow is passed over. bench/variants.bench.ts measures what stands here; figures are in bench/README.md. So
 * far of a GPU emulated on the CPU only, which has no units for float16: there `plain` is the fastest of the tiles.
 */
export const TABLE: readonly {
  readonly plan: Variant['plan']['kind'];
  readonly rowsUpTo: number;
  readonly ways: readonly Way[];
}[] = [
  { plan: 'rows', rowsUpTo: Number.POSITIVE_INFINITY, ways: ['subgroups', 'plain'] },
  { plan: 'tiles', rowsUpTo: Number.POSITIVE_INFINITY, ways: ['matrix', 'half', 'plain'] },
];

export type Possible = {
  readonly plan: Variant['plan'];
  readonly rows: number;
  readonly offers: Offers;
  /** Null where the device's matrices do not serve. */
  readonly matrixPlan: MatrixPlan | null;
};

/** `plain` is always possible; the others where plan, device and settings allow them. */
export function waysOf({ plan, offers, matrixPlan }: Possible, { half }: KernelSettings): readonly Way[] {
  if (plan.kind === 'columns') return ['plain'];
  if (plan.kind === 'rows') return offers.subgroups ? ['subgroups', 'plain'] : ['plain'];
  if (!half || !offers.half) return ['plain'];
  return matrixPlan ? ['matrix', 'half', 'plain'] : ['half', 'plain'];
}

/** The preferred way where it is possible, else the first of the table that is. */
export function chooseWay(possible: Possible, settings: KernelSettings): Way {
  const ways = waysOf(possible, settings);
  if (settings.prefer && ways.includes(settings.prefer)) return settings.prefer;
  const line = TABLE.find(({ plan, rowsUpTo }) => plan === possible.plan.kind && possible.rows <= rowsUpTo);
  return line?.ways.find((way) => ways.includes(way)) ?? 'plain';
}

/** What may become of a product [rows, …] → [rows, outputs] on the GPU that computes. `fours`: x is read in fours. */
export function possibleHere(rows: number, outputs: number, fours = false): Possible {
  const { device } = webgpuBackend();
  const offers = offersOf(device);
  const plan = planOf(rows, outputs, fours && !kernelSettings().half); // half precision has tiles only
  const matrixPlan = plan.kind === 'tiles' ? matrixPlanOf(offers, rows, limitsOf(device)) : null;
  return { plan, rows, offers, matrixPlan };
}

/** Outputs and rows of a workgroup. */
export function sideOf({ plan, matrixPlan }: Possible, way: Way): readonly [outputs: number, rows: number] {
  if (way === 'matrix' && matrixPlan) return [MATRIX_COLUMNS, matrixPlan.rows];
  return blockOf(plan);
}

const FEW_ROWS = 8;
const FEW_OUTPUTS = 64; // a LoRA's A: tiles would leave most of a GPU idle
const ROWS_TOGETHER = 4;
const LARGE_TILE = 8;
const SMALL_TILE = 4;
const ENOUGH_WORKGROUPS = 32;
const MOST_A_LANE = 32; // rows, of two columns: more sums than registers, and still the quickest
const FEW_A_LANE = 16;

/** How a product of so many rows and columns is shared out. `fours`: x is read in fours. */
export function planOf(rows: number, outputs: number, fours: boolean): Plan {
  if (rows <= FEW_ROWS || outputs <= FEW_OUTPUTS)
    return { kind: 'rows', rows: rows === 1 ? 1 : ROWS_TOGETHER };
  if (fours && isEmulated()) return { kind: 'columns', rows: rows > FEW_A_LANE ? MOST_A_LANE : FEW_A_LANE };
  const side = SIDE * LARGE_TILE;
  const large = Math.ceil(rows / side) * Math.ceil(outputs / side) >= ENOUGH_WORKGROUPS;
  return { kind: 'tiles', per: rows > side / 2 && large ? LARGE_TILE : SMALL_TILE };
}
