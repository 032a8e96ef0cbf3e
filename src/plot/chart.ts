import type { EChartsCoreOption } from 'echarts/core';

/** Size of a plot in pixels. */
export type PlotSize = { readonly width?: number; readonly height?: number };

/** Told apart also by people who see fewer colours (Okabe and Ito 2008), the yellow left out: too pale for a line on white. */
const COLOURS = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#000000'];

const FONT = 'system-ui, sans-serif';

/** An ECharts option → an SVG, drawn without a page. ECharts is read at the first plot, not before. */
export async function drawSvg(
  option: EChartsCoreOption,
  { width = 760, height = 360 }: PlotSize,
): Promise<string> {
  const [core, charts, components, { SVGRenderer }] = await Promise.all([
    import('echarts/core'),
    import('echarts/charts'),
    import('echarts/components'),
    import('echarts/renderers'),
  ]);
  core.use([
    charts.LineChart,
    charts.BarChart,
    charts.HeatmapChart,
    components.GridComponent,
    components.LegendComponent,
    components.TitleComponent,
    components.VisualMapComponent,
    SVGRenderer,
  ]);
  const chart = core.init(null, null, { renderer: 'svg', ssr: true, width, height });
  try {
    chart.setOption({ animation: false, color: COLOURS, textStyle: { fontFamily: FONT }, ...option });
    return still(chart.renderToSVGString());
  } finally {
    chart.dispose();
  }
}

/**
 * Without what is for a pointer (hover styles, data indices). Ids count up over all charts of a process; here the same plot is
 * the same text.
 */
const still = (svg: string): string =>
  svg
    .replace(/<style ?>.*?<\/style>\s*/gs, '')
    .replace(/ (?:class|pointer-events|ecmeta_\w+)="[^"]*"/g, '')
    .replace(/\bzr\d+-/g, 'plot-');

/** What all plots have in common: the title, and room for the names of the axes. */
export const titled = (title: string) => ({
  title: { text: title, left: 'center', textStyle: { fontSize: 14, fontFamily: FONT } },
});

export const namedAxis = (name: string, gap: number) => ({
  name,
  nameLocation: 'middle' as const,
  nameGap: gap,
  nameTextStyle: { fontFamily: FONT },
});

/** At most four significant digits, as a label: 0.0001234, 12.35, 1.2e-9. */
export const shortNumber = (x: number): string => {
  if (x === 0) return '0';
  const size = Math.abs(x);
  return size < 1e-4 || size >= 1e6 ? x.toExponential(1) : String(Number(x.toPrecision(4)));
};
