import { Command } from 'commander';
import { listAdapterFiles } from '../../weights/adapter-files.ts';
import { readJsonIfThere } from '../../weights/read-text.ts';
import { parseModelConfig } from '../model-config.ts';
import { cellTable } from './cell-table.ts';
import { type AdapterSummary, summarizeAdapters } from './checkpoint-summary.ts';
import { type GlobalOptions, modelOption, withExamples } from './options.ts';
import { action, type Session } from './session.ts';

type ListOptions = GlobalOptions & { readonly model?: string };

export function listCommand(signal: AbortSignal): Command {
  const command = new Command('list')
    .description('the adapters of a checkpoint or a PEFT folder; reads headers only')
    .argument('[folder]', 'folder or URL (default: the small checkpoint in this package)')
    .addOption(modelOption().hideHelp()) // as every other command spells it
    .action(
      action<ListOptions>(signal, (options, session, args) =>
        list(args[0] ?? options.model ?? null, options, session),
      ),
    );
  return withExamples(
    command,
    'jina-embeddings adapters list',
    'jina-embeddings adapters list ./my-lora --json',
  );
}

async function list(
  source: string | null,
  { json }: ListOptions,
  { terminal, signal }: Session,
): Promise<void> {
  const { nodeDoor } = await import('../platform/node.ts');
  const tree = source === null ? await nodeDoor.openDefault() : await nodeDoor.openTree(source, signal);
  try {
    const config = await readJsonIfThere(tree, 'config.json', { signal }); // a PEFT folder has none
    const taskNames = config === undefined ? [] : parseModelConfig(config).taskNames;
    const adapters = summarizeAdapters(await listAdapterFiles(tree, { taskNames, signal }));
    const asJson = json || terminal.columns === null;
    await terminal.print(
      asJson
        ? `${JSON.stringify({ folder: tree.name, adapters })}\n`
        : describeList(tree.name, adapters, { width: terminal.columns, heading: terminal.style.bold }),
    );
  } finally {
    await tree.close();
  }
}

export function describeList(
  folder: string,
  adapters: readonly AdapterSummary[],
  style: Parameters<typeof cellTable>[1],
): string {
  if (adapters.length === 0) return `${folder} holds no adapters\n`;
  return cellTable(
    {
      columns: ['adapter', 'rank', 'alpha', 'maps', 'parameters'],
      rows: adapters.map((a) => [a.name, a.ranks.join(', '), a.alpha, a.modules, a.parameters]),
    },
    style,
  );
}
