import { barPlot, heatMap, htmlReport } from '../../plot/index.ts';
import type { AdapterEffect, EffectPair } from './adapter-effect.ts';

/** A page on what adapters do to vectors: how far they move, and how far adapters are from each other. */
export async function effectReport(effect: AdapterEffect): Promise<string> {
  const { adapters, moved, between, inputs } = effect;
  const names = ['none', ...adapters];
  const pairs = [...moved, ...between];
  const mean = (x: string, y: string): number => {
    if (x === y) return 1;
    const is = ({ from, to }: EffectPair, a: string, b: string) => (from ?? 'none') === a && to === b;
    return (pairs.find((p) => is(p, x, y) || is(p, y, x)) as EffectPair).mean;
  };
  const { categories, series } = histogram(moved);
  return htmlReport(`Effect of ${adapters.join(', ')}`, [
    {
      heading: `${inputs} inputs, with and without`,
      text: 'Cosine between the vector with an adapter and without: 1 is no effect.',
      figures: [
        {
          svg: await barPlot({
            title: 'how far vectors move',
            xLabel: 'cosine between with and without',
            yLabel: 'inputs',
            categories,
            series,
          }),
          caption: 'How many inputs have a cosine in each range.',
        },
        {
          svg: await heatMap({
            title: 'mean cosine between ways to run',
            xLabel: '',
            yLabel: '',
            rows: names,
            columns: names,
            values: names.map((x) => names.map((y) => mean(x, y))),
          }),
          caption: 'Mean cosine between every two: the backbone alone (none) and the adapters.',
        },
      ],
      table: {
        columns: ['from', 'to', 'mean', 'least'],
        rows: pairs.map((p) => [p.from ?? 'none', p.to, p.mean, p.least]),
      },
    },
  ]);
}

const BINS = 10;

/** Counts of cosines in bins of equal width, from the least that occurs to 1. */
export function histogram(pairs: readonly EffectPair[]): {
  readonly categories: readonly string[];
  readonly series: readonly { readonly name: string; readonly values: readonly number[] }[];
} {
  const least = Math.min(...pairs.map((p) => p.least));
  const width = Math.max(1 - least, 1e-6) / BINS;
  const binOf = (cosine: number) => Math.max(0, Math.min(BINS - 1, Math.floor((cosine - least) / width)));
  return {
    categories: Array.from({ length: BINS }, (_, k) =>
      (least + (k + 0.5) * width).toFixed(width < 1e-3 ? 5 : 3),
    ),
    series: pairs.map(({ to, cosines }) => {
      const values = new Array<number>(BINS).fill(0);
      for (const c of cosines) values[binOf(c)]++;
      return { name: to, values };
    }),
  };
}
