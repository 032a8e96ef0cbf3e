import { drawSvg, namedAxis, type PlotSize, shortNumber, titled } from './chart.ts';

export type BarPlot = PlotSize & {
  readonly title: string;
  readonly xLabel: string;
  readonly yLabel: string;
  /** Names below the bars. */
  readonly categories: readonly string[];
  /** One bar a category each. */
  readonly series: readonly { readonly name: string; readonly values: readonly number[] }[];
};

/** Bars side by side → an SVG: scores of tasks, a histogram. */
export function barPlot(plot: BarPlot): Promise<string> {
  const { title, xLabel, yLabel, categories, series } = plot;
  const several = series.length > 1;
  return drawSvg(
    {
      ...titled(title),
      legend: { show: several, bottom: 0, itemGap: 24 },
      grid: { left: 78, right: 24, top: 40, bottom: several ? 84 : 52 },
      xAxis: { type: 'category', data: categories, ...namedAxis(xLabel, 28) },
      yAxis: { type: 'value', ...namedAxis(yLabel, 58), axisLabel: { formatter: shortNumber } },
      series: series.map(({ name, values }) => ({ type: 'bar', silent: true, name, data: values })),
    },
    plot,
  );
}
