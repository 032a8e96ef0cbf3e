import { Command } from 'commander';
import type { AdapterComparison } from '../adapters/inspect/compare-adapters.ts';
import { ADAPTER_WORDS, openAdapters } from './adapter-sources.ts';
import { counted } from './amounts.ts';
import { type CellStyle, cellTable } from './cell-table.ts';
import { htmlName, writeHtml } from './html-file.ts';
import { wholeNumber } from './option-values.ts';
import { type GlobalOptions, modelOption, withExamples } from './options.ts';
import { action, type Session } from './session.ts';

type CompareOptions = GlobalOptions & {
  readonly model?: string;
  readonly directions?: number;
  readonly html?: string;
};

export function compareCommand(signal: AbortSignal): Command {
  const command = new Command('compare')
    .description('whether two adapters push the same way: cosines and shared directions, module by module')
    .argument('<a>', 'an adapter')
    .argument('<b>', 'another')
    .addOption(modelOption())
    .option('--directions <n>', 'compare this many of the strongest (default: all)', wholeNumber)
    .option('--html <file>', 'a report with plots, as a web page', htmlName)
    .addHelpText('after', ADAPTER_WORDS)
    .action(action<CompareOptions>(signal, (options, session, words) => compare(words, options, session)));
  return withExamples(
    command,
    'jina-embeddings adapters compare retrieval text-matching --model ./jina-embeddings-v4',
    'jina-embeddings adapters compare retrieval ./my-lora --directions 8 --html report.html',
  );
}

async function compare(
  words: readonly string[],
  { model, directions, html, json }: CompareOptions,
  session: Session,
): Promise<void> {
  const { terminal, signal } = session;
  using opened = await openAdapters(words, model, session);
  const { compareAdapters } = await import('../adapters/inspect/compare-adapters.ts');
  const progress = await terminal.progress('comparing', (done, total) => `${done} of ${total} modules`);
  let found: AdapterComparison;
  try {
    const [a, b] = opened.adapters;
    found = await compareAdapters(a, b, { directions, signal, onProgress: progress.update });
  } finally {
    progress.stop();
  }
  await writeHtml(html, async () => {
    const { comparisonReport } = await import('../adapters/inspect/comparison-report.ts');
    return comparisonReport(found);
  });
  await terminal.print(
    json || terminal.columns === null
      ? `${JSON.stringify(found)}\n`
      : describeComparison(found, { width: terminal.columns, heading: terminal.style.bold }),
  );
}

export function describeComparison(found: AdapterComparison, style: CellStyle): string {
  const { heading = (t) => t } = style;
  const { a, b, cosine, modules, onlyInA, onlyInB } = found;
  const lone = [
    ...(onlyInA.length ? [`${counted(onlyInA.length, 'map')} only in ${a}`] : []),
    ...(onlyInB.length ? [`${counted(onlyInB.length, 'map')} only in ${b}`] : []),
  ];
  const table = cellTable(
    {
      columns: ['module', 'cosine', 'φ written', 'φ read'],
      rows: modules.map((m) => [m.module, m.cosine, m.outSimilarity, m.inSimilarity]),
    },
    style,
  );
  return `${heading(`${a} and ${b}`)}  cosine ${cosine.toFixed(4)}${lone.map((t) => `; ${t}`).join('')}\n${table}`;
}
