import { linePlot, type ReportSection } from '../../plot/index.ts';

export type Placed = { readonly module: string; readonly layer: number | null; readonly kind: string };
export type Figure = NonNullable<ReportSection['figures']>[number];

/** One line a kind of map; null where no module is in a layer. */
export async function overLayers<M extends Placed>(
  modules: readonly M[],
  value: (m: M) => number | null,
  { title, yLabel, caption }: { title: string; yLabel: string; caption: string },
): Promise<Figure | null> {
  const lines = [...byKind(modules)].map(([name, all]) => ({
    name,
    points: all.map((m) => [m.layer as number, value(m)] as const),
  }));
  if (lines.length === 0) return null;
  return { svg: await linePlot({ title, xLabel: 'layer', yLabel, lines }), caption };
}

/** The modules that are in a layer, by the name of the map, in the order of their layers. */
export function byKind<M extends Placed>(modules: readonly M[]): ReadonlyMap<string, readonly M[]> {
  const kinds = new Map<string, M[]>();
  for (const m of modules) if (m.layer !== null) kinds.set(m.kind, [...(kinds.get(m.kind) ?? []), m]);
  for (const all of kinds.values()) all.sort((a, b) => (a.layer as number) - (b.layer as number));
  return kinds;
}
