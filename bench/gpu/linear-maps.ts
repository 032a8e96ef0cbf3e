import type { JinaEmbeddings } from '../../src/platform/node.ts';
import type { Profile } from '../../src/profile/profile-run.ts';
import { type Product, productsOf, sumOfWays, timeWays, type WayTimes } from '../variant-cases.ts';
import type { Figure } from './table.ts';

const VARIANT_RUNS = 9;

// A map alone, and those that WebGPU takes in one dispatch: q, k, v and gate, up.
const MAPS = /^(Linear|Heads|Gated) /;

/** What part of the ceiling (GFLOP/s) the linear maps of a pass reach, and what part of its time is theirs. */
export function shareOfPass({ rows, wallMs, clock }: Profile, ceiling: number): readonly Figure[] {
  const maps = rows.filter(({ op }) => MAPS.test(op));
  const ms = maps.reduce((sum, row) => sum + row.ms, 0);
  const gflops = maps.reduce((sum, row) => sum + (row.gflops ?? 0) * row.ms, 0) / ms;
  return [
    { case: 'linear maps of the batch', how: `by ${clock}`, value: gflops, unit: 'GFLOP/s' },
    { case: 'linear maps, of the ceiling', value: (100 * gflops) / ceiling, unit: '%' },
    { case: 'linear maps, of the time of the batch', value: (100 * ms) / wallMs, unit: '%' },
  ];
}

/** The seven products of a block, in every way that the device has for them: what part of the ceiling each reaches. */
export async function shareByVariant(
  jina: JinaEmbeddings,
  rows: number,
  ceiling: number,
): Promise<readonly Figure[]> {
  const { hiddenSize, headDim, numKeyValueHeads, intermediateSize } = jina.model.config.decoder;
  const measured: (readonly [Product, readonly WayTimes[]])[] = [];
  for (const product of productsOf(hiddenSize, headDim * numKeyValueHeads, intermediateSize))
    measured.push([product, await timeWays(rows, product, VARIANT_RUNS)]);
  return sumOfWays(rows, measured).flatMap(({ way, gflops, error, chosen }): Figure[] => {
    const taken = chosen.length > 0 ? `, taken in ${chosen.join(' and ')}` : '';
    const name = `products of a block, ${rows} rows, ${way}${taken}`;
    return [
      { case: name, value: gflops, unit: 'GFLOP/s', runs: VARIANT_RUNS, error },
      { case: `${name}, of the ceiling`, value: (100 * gflops) / ceiling, unit: '%' },
    ];
  });
}
