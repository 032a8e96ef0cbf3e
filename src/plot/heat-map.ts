import { drawSvg, namedAxis, type PlotSize, shortNumber, titled } from './chart.ts';

export type HeatMap = PlotSize & {
  readonly title: string;
  readonly xLabel: string;
  readonly yLabel: string;
  /** Names of the rows from the top, and of the columns. */
  readonly rows: readonly string[];
  readonly columns: readonly string[];
  /** [row][column]; null leaves a cell empty. */
  readonly values: readonly (readonly (number | null)[])[];
  /** What the ends of the scale stand for. Default: the smallest and largest value. */
  readonly range?: readonly [number, number];
  /** Write the numbers into the cells. Default: where there are few. */
  readonly labels?: boolean;
};

/** Dark to bright, evenly to the eye, in print and to colour-blind people, too: viridis. */
const SCALE = ['#440154', '#3b528b', '#21918c', '#5ec962', '#fde725'];

/** A matrix as coloured cells → an SVG. */
export function heatMap(plot: HeatMap): Promise<string> {
  const { title, xLabel, yLabel, rows, columns, values } = plot;
  const cells = values.flatMap((row, y) =>
    row.flatMap((value, x) => (value === null ? [] : [[x, y, value] as const])),
  );
  const [low, high] = plot.range ?? [
    cells.reduce((least, [, , v]) => Math.min(least, v), Infinity),
    cells.reduce((most, [, , v]) => Math.max(most, v), -Infinity),
  ];
  const longest = rows.reduce((n, name) => Math.max(n, name.length), 0);
  const left = 40 + Math.min(260, 7 * longest);
  return drawSvg(
    {
      ...titled(title),
      grid: { left, right: 90, top: 40, bottom: 60 },
      xAxis: { type: 'category', data: columns, ...namedAxis(xLabel, 30), splitArea: { show: true } },
      yAxis: { type: 'category', data: rows, inverse: true, ...namedAxis(yLabel, left - 20) },
      visualMap: {
        min: low,
        max: high > low ? high : low + 1, // all alike
        orient: 'vertical',
        right: 10,
        top: 'middle',
        inRange: { color: SCALE },
        text: [shortNumber(high), shortNumber(low)],
        calculable: false,
      },
      series: [
        {
          type: 'heatmap',
          silent: true,
          data: cells,
          label: {
            show: plot.labels ?? cells.length <= 100,
            formatter: ({ value }: { value: readonly number[] }) => shortNumber(value[2]),
          },
        },
      ],
    },
    { ...plot, height: plot.height ?? Math.min(1600, 120 + 24 * Math.max(10, rows.length)) },
  );
}
