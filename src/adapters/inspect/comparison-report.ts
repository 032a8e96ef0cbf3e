import { heatMap, htmlReport } from '../../plot/index.ts';
import type { AdapterComparison, ModuleComparison, Overlap } from './compare-adapters.ts';
import { type Figure, overLayers } from './over-layers.ts';

/** A page on two adapters: the cosine of their changes over layers, the overlap of their spaces, all numbers. */
export async function comparisonReport(comparison: AdapterComparison): Promise<string> {
  const { a, b, cosine, modules, onlyInA, onlyInB } = comparison;
  const lone = [
    ...(onlyInA.length ? [`${onlyInA.length} only in ${a}`] : []),
    ...(onlyInB.length ? [`${onlyInB.length} only in ${b}`] : []),
  ];
  const lines = await Promise.all([
    overLayers(modules, (m) => m.cosine, {
      title: 'cosine of the changes',
      yLabel: 'cosine',
      caption:
        'Cosine of the two changes as long vectors: 1 the same direction, 0 nothing to do with each other.',
    }),
    overLayers(modules, (m) => m.outSimilarity, {
      title: 'shared directions, written',
      yLabel: 'φ',
      caption:
        'How much of the space that one adapter writes to is in that of the other, 0 to 1 (Hu et al. 2021, 7.2).',
    }),
    overLayers(modules, (m) => m.inSimilarity, {
      title: 'shared directions, read',
      yLabel: 'φ',
      caption: 'The same for the directions that are read.',
    }),
  ]);
  return htmlReport(`${a} and ${b}`, [
    {
      heading: 'Both together',
      text: `Cosine over all modules ${cosine.toFixed(4)}; ${modules.length} modules in both${lone.map((t) => `, ${t}`).join('')}.`,
      figures: lines.flatMap((f) => f ?? []),
    },
    {
      heading: 'Overlap by number of directions',
      text: `φ(i, j): how much of the i strongest directions of ${a} lies in the j strongest of ${b}, on average over the modules.`,
      figures: await overlapMaps(comparison),
    },
    {
      heading: 'Modules',
      table: {
        columns: ['module', 'cosine', 'φ written', 'φ read'],
        rows: modules.map((m) => [m.module, m.cosine, m.outSimilarity, m.inSimilarity]),
      },
    },
  ]);
}

async function overlapMaps({ a, b, modules }: AdapterComparison): Promise<Figure[]> {
  const sides = [
    ['written', (m: ModuleComparison) => m.outOverlap],
    ['read', (m: ModuleComparison) => m.inOverlap],
  ] as const;
  const figures: Figure[] = [];
  for (const [side, of] of sides) {
    const values = meanOverlap(modules.map(of));
    if (values.length === 0) continue;
    figures.push({
      svg: await heatMap({
        title: `φ(i, j), directions that are ${side}`,
        xLabel: `j, of ${b}`,
        yLabel: `i, of ${a}`,
        rows: values.map((_, i) => String(i + 1)),
        columns: values[0].map((_, j) => String(j + 1)),
        values,
        range: [0, 1],
      }),
      caption: `Overlap of the directions that are ${side}.`,
    });
  }
  return figures;
}

/** Mean of each φ(i, j), over the modules that have so many directions. */
export function meanOverlap(overlaps: readonly Overlap[]): number[][] {
  const rows = Math.max(0, ...overlaps.map((o) => o.length));
  const columns = Math.max(0, ...overlaps.map((o) => o[0]?.length ?? 0));
  return Array.from({ length: rows }, (_, i) =>
    Array.from({ length: columns }, (_, j) => {
      const found = overlaps.flatMap((o) => o[i]?.[j] ?? []);
      return found.reduce((x, y) => x + y, 0) / found.length;
    }),
  );
}
