import { Command, Option } from 'commander';
import type { AdapterEffect } from '../adapters/inspect/adapter-effect.ts';
import type { MixedInput } from '../options.ts';
import { ADAPTER_WORDS } from './adapter-sources.ts';
import { type CellStyle, cellTable } from './cell-table.ts';
import { htmlName, writeHtml } from './html-file.ts';
import { addInputOptions, countInputs, type Given, nothingIn, readInputs } from './inputs.ts';
import { openModel, settingsOf } from './open-model.ts';
import { notEmpty, wholeNumber } from './option-values.ts';
import { deviceOption, type ModelOptions, modelOption, promptOption, withExamples } from './options.ts';
import { action, type Session } from './session.ts';
import { withAdapterWords } from './with-adapter-words.ts';

type EffectOptions = ModelOptions & { readonly adapter: readonly string[]; readonly html?: string };

export function effectCommand(signal: AbortSignal): Command {
  const command = new Command('effect').description(
    'how far adapters move the vectors of your inputs, and how far they are from each other',
  );
  const given = addInputOptions(command);
  command
    .addOption(
      new Option('-a, --adapter <adapter>', 'which; repeatable (default: all of the checkpoint)')
        .argParser((word: string, before: readonly string[]) => [...before, notEmpty(word)])
        .default([], ''),
    )
    .addOption(modelOption())
    .addOption(deviceOption())
    .addOption(promptOption('-p, --prompt <name>', 'prefix of texts'))
    .option('--batch-size <n>', 'inputs that run together; never changes a result', wholeNumber)
    .option('--html <file>', 'a report with plots, as a web page', htmlName)
    .addHelpText('after', ADAPTER_WORDS)
    .action(action<EffectOptions>(signal, (options, session) => effect(given, options, session)));
  return withExamples(
    command,
    'jina-embeddings adapters effect --text "a red bicycle" --image photo.jpg',
    'jina-embeddings adapters effect --adapter retrieval --adapter ./my-lora --input pages.jsonl --html effect.html',
  );
}

async function effect(given: readonly Given[], options: EffectOptions, session: Session): Promise<void> {
  const { terminal, signal } = session;
  await countInputs(given, signal); // a bad line is told before a model is loaded
  const settings = await settingsOf(options);
  const inputs: MixedInput[] = [];
  for await (const input of readInputs(given, signal))
    inputs.push('text' in input ? { text: input.text } : { image: input.image });
  if (inputs.length === 0) throw nothingIn(given);
  using embedder = await openModel(options, settings, session);
  const adapters = await withAdapterWords(embedder, options.adapter, signal);
  const { adapterEffect } = await import('../adapters/inspect/adapter-effect.ts');
  const progress = await terminal.progress('embedding', (done, total) => `${done} of ${total} ways`);
  let found: AdapterEffect;
  try {
    const names = adapters.map((a) => a.name);
    found = await adapterEffect(embedder, inputs, names, {
      promptName: settings.promptName,
      signal,
      onProgress: progress.update,
    });
  } finally {
    progress.stop();
  }
  await writeHtml(options.html, async () => {
    const { effectReport } = await import('../adapters/inspect/effect-report.ts');
    return effectReport(found);
  });
  await terminal.print(
    options.json || terminal.columns === null
      ? `${JSON.stringify(found)}\n`
      : describeEffect(found, { width: terminal.columns, heading: terminal.style.bold }),
  );
  terminal.note(`on ${embedder.device.reason}`);
}

export const describeEffect = ({ moved, between }: AdapterEffect, style: CellStyle): string =>
  cellTable(
    {
      columns: ['cosine between', 'and', 'mean', 'least'],
      rows: [...moved, ...between].map((p) => [
        p.from ?? 'no adapter',
        p.to,
        p.mean.toFixed(4),
        p.least.toFixed(4),
      ]),
    },
    style,
  );
