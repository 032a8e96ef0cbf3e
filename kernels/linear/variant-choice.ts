import type { Offers } from '../webgpu/offers.ts';
import type { KernelSettings, Way } from '../webgpu/settings.ts';
import type { Variant } from './linear-shaders.ts';
import type { MatrixPlan } from './matrix-tiles.ts';

/**
 * Which way a product goes, first choice first, by plan and rows of x (the first line that fits). Measured by
 * bench/variants.bench.ts; figures in bench/README.md. A way that the device or the settings do not allow is passed over.
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
