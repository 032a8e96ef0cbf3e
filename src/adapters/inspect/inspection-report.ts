import { heatMap, htmlReport, type ReportSection } from '../../plot/index.ts';
import type { AdapterReport, ModuleReport } from './inspect-adapter.ts';
import { byKind, type Figure, overLayers } from './over-layers.ts';

/** A page on one or several adapters: norms over layers, singular values by kind of map, all numbers. */
export async function inspectionReport(reports: readonly AdapterReport[]): Promise<string> {
  const sections: ReportSection[] = [];
  for (const report of reports) {
    const { name, rank, parameters, modules, frobenius } = report;
    sections.push({
      heading: name,
      text:
        `Rank ${rank} on ${modules.length} linear maps, ${parameters.toLocaleString('en-US')} parameters; ` +
        `‖ΔW‖ over all of them ${frobenius.toPrecision(4)}.`,
      figures: [...(await normPlots(report)), ...(await spectra(modules))],
      table: {
        columns: [
          'module',
          'in',
          'out',
          'rank',
          'scale',
          '‖ΔW‖_F',
          '‖ΔW‖₂',
          'of ‖W‖',
          'stable rank',
          'effective rank',
        ],
        rows: modules.map((m) => [
          m.module,
          m.inSize,
          m.outSize,
          m.rank,
          m.scale,
          m.frobenius,
          m.spectral,
          m.relative ?? '',
          m.stableRank,
          m.effectiveRank,
        ]),
      },
    });
  }
  return htmlReport(`Adapters: ${reports.map((r) => r.name).join(', ')}`, sections);
}

async function normPlots({ name, modules }: AdapterReport): Promise<Figure[]> {
  const figures = [
    await overLayers(modules, (m) => m.frobenius, {
      title: `${name}: size of the change`,
      yLabel: '‖ΔW‖_F',
      caption: 'Frobenius norm of the change, by layer and kind of map.',
    }),
    await overLayers(modules, (m) => m.effectiveRank, {
      title: `${name}: effective rank`,
      yLabel: 'directions',
      caption: 'Effective rank of the change: how many directions it really uses (Roy and Vetterli 2007).',
    }),
  ];
  if (modules.some((m) => m.relative !== null)) {
    figures.splice(
      1,
      0,
      await overLayers(modules, (m) => m.relative, {
        title: `${name}: size of the change against the weight`,
        yLabel: '‖ΔW‖_F / ‖W‖_F',
        caption: 'The same, as a part of the norm of the weight it changes.',
      }),
    );
  }
  return figures.flatMap((f) => f ?? []);
}

/** A heat map a kind: layers down, singular values across. */
async function spectra(modules: readonly ModuleReport[]): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const [kind, all] of byKind(modules)) {
    const most = Math.max(...all.map((m) => m.singularValues.length));
    figures.push({
      svg: await heatMap({
        title: `singular values of ΔW: ${kind}`,
        xLabel: 'which, from the largest',
        yLabel: 'layer',
        rows: all.map((m) => String(m.layer)),
        columns: Array.from({ length: most }, (_, k) => String(k + 1)),
        values: all.map((m) => Array.from({ length: most }, (_, k) => m.singularValues[k] ?? null)),
        labels: false,
      }),
      caption: `Singular values of the changes of ${kind}.`,
    });
  }
  return figures;
}
