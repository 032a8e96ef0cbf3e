import { drawSvg, namedAxis, type PlotSize, shortNumber, titled } from './chart.ts';

export type Line = {
  readonly name: string;
  /** [x, y]; a null y is a gap. */
  readonly points: readonly (readonly [x: number, y: number | null])[];
};

export type LinePlot = PlotSize & {
  readonly title: string;
  readonly xLabel: string;
  readonly yLabel: string;
  readonly lines: readonly Line[];
  /** A logarithmic y axis: all values must be above 0; others become gaps. */
  readonly logarithmic?: boolean;
};

/** Lines over a common x axis → an SVG: a loss over steps, a norm over layers. */
export function linePlot(plot: LinePlot): Promise<string> {
  const { title, xLabel, yLabel, lines, logarithmic = false } = plot;
  const shown = (y: number | null) =>
    y !== null && Number.isFinite(y) && !(logarithmic && y <= 0) ? y : null;
  const several = lines.length > 1;
  return drawSvg(
    {
      ...titled(title),
      legend: { show: several, bottom: 0, itemGap: 24 },
      grid: { left: 78, right: 24, top: 40, bottom: several ? 84 : 52 },
      xAxis: {
        type: 'value',
        ...namedAxis(xLabel, 28),
        min: 'dataMin',
        max: 'dataMax',
        ...wholeSteps(lines),
      },
      yAxis: {
        type: logarithmic ? 'log' : 'value',
        ...namedAxis(yLabel, 58),
        scale: true,
        axisLabel: { formatter: shortNumber },
      },
      series: lines.map(({ name, points }) => ({
        type: 'line',
        silent: true,
        name,
        data: points.map(([x, y]) => [x, shown(y)]),
        symbolSize: points.length > 60 ? 0 : 5,
        lineStyle: { width: 2 },
      })),
    },
    plot,
  );
}

/** Layers and steps are counted: no ticks between them. */
const wholeSteps = (lines: readonly Line[]) =>
  lines.every(({ points }) => points.every(([x]) => Number.isInteger(x))) ? { minInterval: 1 } : {};
