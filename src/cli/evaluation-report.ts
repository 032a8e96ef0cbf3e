import type { Report, Score } from '../evaluate/encoder.ts';
import { count } from './amounts.ts';
import { NO_TASK } from './options.ts';
import { padEnd, padStart } from './table.ts';
import type { Terminal } from './terminal.ts';

export const adapterName = (adapter: string | null): string => adapter ?? NO_TASK;

/** One JSON object; a metric without meaning is null. */
export const reportJson = (report: Report, about: Readonly<Record<string, unknown>>): string => {
  const scores = report.scores.map(({ adapter, size, metrics }) => ({
    adapter: adapterName(adapter),
    size,
    metrics,
  }));
  return `${JSON.stringify({ ...about, ...report, scores })}\n`;
};

/** A row for every adapter and size, the best of every metric highlighted. */
export function reportTable(report: Report, { style }: Pick<Terminal, 'style'>): string {
  const names = Object.keys(report.scores[0].metrics);
  const best = Object.fromEntries(names.map((name) => [name, bestOf(report.scores, name)]));
  const adapters = report.scores.map((s) => adapterName(s.adapter));
  const left = Math.max('adapter'.length, ...adapters.map((a) => a.length));
  const cell = (name: string, text: string) => padStart(text, Math.max(name.length, 6));
  const head = [padEnd('adapter', left), padStart('size', 6), ...names.map((n) => cell(n, n))];
  const rows = report.scores.map(({ size, metrics }, i) => {
    const first = i === 0 || adapters[i] !== adapters[i - 1] ? adapters[i] : '';
    const cells = names.map((name) => {
      const text = cell(name, Number.isNaN(metrics[name]) ? '–' : metrics[name].toFixed(4));
      return metrics[name] === best[name] && report.scores.length > 1 ? style.green(text) : text;
    });
    return [padEnd(first, left), padStart(count(size), 6), ...cells].join('  ');
  });
  return `${style.bold(head.join('  '))}\n${rows.join('\n')}\n`;
}

const bestOf = (scores: readonly Score[], name: string): number =>
  Math.max(...scores.map(({ metrics }) => metrics[name]).filter((v) => !Number.isNaN(v)));
