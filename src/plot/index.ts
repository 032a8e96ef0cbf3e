export { type BarPlot, barPlot } from './bar-plot.ts';
export { type HeatMap, heatMap } from './heat-map.ts';
export { htmlReport, type ReportSection, type ReportTable } from './html-report.ts';
export { type Line, type LinePlot, linePlot } from './line-plot.ts';
