import { Command } from 'commander';
import type { AdapterReport, ModuleReport } from '../adapters/inspect/inspect-adapter.ts';
import type { Adapter } from '../adapters/with-adapters.ts';
import type { ModelParams } from '../params.ts';
import { ADAPTER_WORDS, openAdapters } from './adapter-sources.ts';
import { count } from './amounts.ts';
import { type CellStyle, cellTable } from './cell-table.ts';
import { htmlName, writeHtml } from './html-file.ts';
import { openModel, settingsOf } from './open-model.ts';
import { deviceOption, type ModelOptions, modelOption, withExamples } from './options.ts';
import { action, type Session } from './session.ts';
import { withAdapterWords } from './with-adapter-words.ts';

type InspectOptions = ModelOptions & {
  readonly base?: boolean;
  readonly modules?: boolean;
  readonly html?: string;
};

export function inspectCommand(signal: AbortSignal): Command {
  const command = new Command('inspect')
    .description('what adapters change, and how much: norms, singular values, ranks')
    .argument('[adapter...]', 'which (default: all of the checkpoint)')
    .addOption(modelOption())
    .option('--base', 'compare with the weights of the model, too, which takes loading it')
    .addOption(deviceOption())
    .option('--modules', 'a line a module instead of one a kind of map')
    .option('--html <file>', 'a report with plots, as a web page', htmlName)
    .addHelpText('after', ADAPTER_WORDS)
    .action(action<InspectOptions>(signal, (options, session, words) => inspect(words, options, session)));
  return withExamples(
    command,
    'jina-embeddings adapters inspect retrieval --model ./jina-embeddings-v4',
    'jina-embeddings adapters inspect ./my-lora --model ./jina-embeddings-v4 --base --html report.html',
  );
}

async function inspect(words: readonly string[], options: InspectOptions, session: Session): Promise<void> {
  const { terminal } = session;
  const reports = options.base
    ? await inspectOnModel(words, options, session)
    : await inspectAlone(words, options, session);
  await writeHtml(options.html, async () => {
    const { inspectionReport } = await import('../adapters/inspect/inspection-report.ts');
    return inspectionReport(reports);
  });
  if (options.json || terminal.columns === null) {
    await terminal.print(`${JSON.stringify({ adapters: reports })}\n`);
    return;
  }
  const style = { width: terminal.columns, heading: terminal.style.bold };
  await terminal.print(
    reports.map((r) => describeReport(r, { style, modules: options.modules ?? false })).join('\n'),
  );
}

async function inspectAlone(
  words: readonly string[],
  { model }: InspectOptions,
  session: Session,
): Promise<readonly AdapterReport[]> {
  using opened = await openAdapters(words, model, session);
  return await reportsOf(opened.adapters, session); // before `using` ends
}

async function inspectOnModel(
  words: readonly string[],
  options: InspectOptions,
  session: Session,
): Promise<readonly AdapterReport[]> {
  using embedder = await openModel(options, await settingsOf(options), session);
  const adapters = await withAdapterWords(embedder, words, session.signal);
  return await reportsOf(adapters, session, embedder.model.params);
}

async function reportsOf(
  adapters: readonly Adapter[],
  { terminal, signal }: Session,
  params?: ModelParams,
): Promise<readonly AdapterReport[]> {
  const { inspectAdapter } = await import('../adapters/inspect/inspect-adapter.ts');
  const progress = await terminal.progress('inspecting', (done, total) => `${done} of ${total} modules`);
  const total = adapters.reduce((sum, a) => sum + a.terms.size, 0);
  let before = 0;
  try {
    const reports: AdapterReport[] = [];
    for (const adapter of adapters) {
      const onProgress = (done: number) => progress.update(before + done, total);
      reports.push(await inspectAdapter(adapter, { params, signal, onProgress }));
      before += adapter.terms.size;
    }
    return reports;
  } finally {
    progress.stop();
  }
}

/** A table: a line a kind of map with means over the layers, or a line a module. */
export function describeReport(
  report: AdapterReport,
  { style, modules }: { style: CellStyle; modules: boolean },
): string {
  const { heading = (t) => t } = style;
  const { name, rank, parameters, frobenius } = report;
  const title =
    `${heading(name)}  rank ${rank}, ${count(parameters)} parameters on ${count(report.modules.length)} maps, ` +
    `‖ΔW‖ ${frobenius.toPrecision(4)}\n`;
  const columns = ['rank', 'scale', '‖ΔW‖_F', '‖ΔW‖₂', 'of ‖W‖', 'stable', 'effective'];
  const numbers = (all: readonly ModuleReport[]) => [
    mean(all.map((m) => m.rank)),
    mean(all.map((m) => m.scale)),
    mean(all.map((m) => m.frobenius)),
    mean(all.map((m) => m.spectral)),
    all.some((m) => m.relative === null) ? null : mean(all.map((m) => m.relative as number)),
    mean(all.map((m) => m.stableRank)),
    mean(all.map((m) => m.effectiveRank)),
  ];
  const table = modules
    ? { columns: ['module', ...columns], rows: report.modules.map((m) => [m.module, ...numbers([m])]) }
    : {
        columns: ['means of', 'maps', ...columns],
        rows: [...kindsOf(report.modules)].map(([kind, all]) => [kind, all.length, ...numbers(all)]),
      };
  return title + cellTable(table, style);
}

const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

function kindsOf(modules: readonly ModuleReport[]): ReadonlyMap<string, readonly ModuleReport[]> {
  const kinds = new Map<string, ModuleReport[]>();
  for (const m of modules) kinds.set(m.kind, [...(kinds.get(m.kind) ?? []), m]);
  return kinds;
}
