import type { LoggedStep } from './training-folder.ts';

/** A page with the loss, the gradient's norm and the learning rate of every update. */
export async function trainingPage(
  title: string,
  steps: readonly LoggedStep[],
  facts: Readonly<Record<string, string | number>>,
): Promise<string> {
  const { htmlReport, linePlot } = await import('../plot/index.ts');
  const figure = async (name: string, value: (step: LoggedStep) => number, smooth = false) => {
    const points = steps.map((s) => [s.update, value(s)] as const);
    const lines = [{ name, points }];
    if (smooth) lines.push({ name: 'running mean', points: runningMean(points) });
    const svg = await linePlot({ title: name, xLabel: 'update', yLabel: name, lines });
    return { svg, caption: `${name} over ${steps.length} updates` };
  };
  return htmlReport(title, [
    {
      heading: 'Run',
      table: { columns: ['', ''], rows: Object.entries(facts).map(([name, value]) => [name, value]) },
    },
    {
      heading: 'Course',
      figures: [
        await figure('loss', (s) => s.loss, true),
        await figure('norm of the gradient', (s) => s.norm),
        await figure('learning rate', (s) => s.rate),
      ],
    },
  ]);
}

/** An exponential mean over about 20 updates, without the bias of its beginning. */
function runningMean(points: readonly (readonly [number, number])[]): (readonly [number, number])[] {
  const keep = 0.95;
  let [sum, weight] = [0, 0];
  return points.map(([x, y]) => {
    sum = keep * sum + y;
    weight = keep * weight + 1;
    return [x, sum / weight] as const;
  });
}
