import { heatMap, htmlReport, linePlot, type ReportSection } from '../plot/index.ts';
import type { Report } from './encoder.ts';

/** What is drawn of each task; the table has all. */
const DRAWN: Readonly<Record<Report['task'], readonly string[]>> = {
  retrieval: ['ndcg@10', 'recall@10', 'mrr'],
  similarity: ['spearman', 'pearson'],
  classification: ['accuracy', 'knnAccuracy'],
  clustering: ['vMeasure'],
};

/** A page on an evaluation: the main metrics over the sizes, the first of them as a map, and the table of all. */
export async function evaluationPage(report: Report, model: string): Promise<string> {
  const names = Object.keys(report.scores[0].metrics);
  const drawn = DRAWN[report.task];
  const figures = [];
  for (const metric of drawn)
    figures.push({
      svg: await linePlot({
        title: metric,
        xLabel: 'values of a vector',
        yLabel: metric,
        lines: linesOf(report, metric),
      }),
      caption: `${metric} of every adapter, over the Matryoshka sizes.`,
    });
  const { rows, columns, values } = mapOf(report, drawn[0]);
  figures.push({
    svg: await heatMap({
      title: drawn[0],
      xLabel: 'values of a vector',
      yLabel: 'adapter',
      rows,
      columns: columns.map(String),
      values,
    }),
    caption: `${drawn[0]}, adapter by size.`,
  });
  const section: ReportSection = {
    heading: `${report.task} with ${model}`,
    text: Object.entries(report.counts)
      .map(([what, n]) => `${what} ${n}`)
      .join(', '),
    figures,
    table: {
      columns: ['adapter', 'size', ...names],
      rows: report.scores.map(({ adapter, size, metrics }) => [
        nameOf(adapter),
        size,
        ...names.map((name) => (Number.isNaN(metrics[name]) ? '–' : metrics[name])),
      ]),
    },
  };
  return htmlReport(`Evaluation: ${report.task}`, [section]);
}

export const linesOf = (report: Report, metric: string) =>
  adaptersOf(report).map((adapter) => ({
    name: nameOf(adapter),
    points: report.scores
      .filter((s) => s.adapter === adapter)
      .map((s) => [s.size, numberOrNull(s.metrics[metric])] as const),
  }));

function mapOf(report: Report, metric: string) {
  const adapters = adaptersOf(report);
  const columns = [...new Set(report.scores.map((s) => s.size))];
  const values = adapters.map((adapter) =>
    columns.map((size) =>
      numberOrNull(
        report.scores.find((s) => s.adapter === adapter && s.size === size)?.metrics[metric] ?? NaN,
      ),
    ),
  );
  return { rows: adapters.map(nameOf), columns, values };
}

const adaptersOf = (report: Report): readonly (string | null)[] => [
  ...new Set(report.scores.map((s) => s.adapter)),
];
const nameOf = (adapter: string | null): string => adapter ?? 'none';
const numberOrNull = (value: number): number | null => (Number.isNaN(value) ? null : value);
