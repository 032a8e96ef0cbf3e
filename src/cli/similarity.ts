import { basename } from 'node:path';
import { Command, Option } from 'commander';
import type { Settings } from '../config.ts';
import type { Embedding } from '../output/similarity.ts';
import { UsageError } from './exit.ts';
import type { Input } from './input-lines.ts';
import { addItemOptions } from './inputs.ts';
import { callOptions, openModel, settingsOf } from './open-model.ts';
import { addModelOptions, type ModelOptions, promptOption, withExamples } from './options.ts';
import { action, type Session } from './session.ts';
import { matrixTable } from './table.ts';

const METRICS = ['cosine', 'dot', 'maxsim'] as const;

type SimilarityOptions = ModelOptions & {
  readonly metric?: (typeof METRICS)[number];
  readonly againstPrompt?: Settings['promptName'];
};

export function similarityCommand(signal: AbortSignal): Command {
  const command = new Command('similarity').description(
    'compare texts and images: all with all, or with --against- rows with columns',
  );
  const rows: Input[] = [];
  const columns: Input[] = [];
  addItemOptions(command, (input) => rows.push(input));
  addItemOptions(command, (input) => columns.push(input), { prefix: 'against-', what: ' in a column' });
  addModelOptions(command)
    .addOption(promptOption('-p, --prompt <name>', 'prefix of texts'))
    .addOption(promptOption('--against-prompt <name>', 'prefix of texts in columns (default: as --prompt)'))
    .addOption(new Option('--metric <name>', 'default: cosine, with --multivector maxsim').choices(METRICS))
    .action(
      action<SimilarityOptions>(signal, (options, session) => similarity(rows, columns, options, session)),
    );
  return withExamples(
    command,
    'jina-embeddings similarity --text "a dog" --text "ein Hund" --image dog.jpg',
    'jina-embeddings similarity --text "who won?" --against-prompt passage --against-text "The match ended 2:1." --against-image page.png',
  );
}

async function similarity(
  rows: readonly Input[],
  columns: readonly Input[],
  options: SimilarityOptions,
  session: Session,
): Promise<void> {
  const metric = checkedMetric(options);
  if (rows.length === 0) throw new UsageError('nothing to embed; give --text or --image');
  if (columns.length === 0 && rows.length < 2)
    throw new UsageError(
      'one input has nothing to be compared with; give another, or --against-text or --against-image',
    );
  const settings = await settingsOf(options);
  using model = await openModel(options, settings, session);
  // Compared at full precision, whatever the settings say of stored embeddings.
  const call = { ...callOptions(options, session), precision: 'float32' } as const;
  const embed = (
    inputs: readonly Input[],
    promptName: Settings['promptName'],
  ): Promise<readonly Embedding[]> => model.encode(inputs.map(asMixed), { ...call, promptName });
  const a = await embed(rows, settings.promptName);
  const b = columns.length ? await embed(columns, options.againstPrompt ?? settings.promptName) : a;
  const values = model.similarity(a, b, metric);
  const [down, across] = [rows, columns.length ? columns : rows];
  const { terminal } = session;
  if (options.json) {
    await terminal.print(
      `${JSON.stringify({ metric, rows: down, columns: across, similarities: values })}\n`,
    );
    return;
  }
  const { style, columns: width } = terminal;
  // The best of a row means nothing where each is compared with itself.
  const best = columns.length ? style.green : undefined;
  const table = { rows: down.map(labelOf), columns: across.map(labelOf), values };
  await terminal.print(matrixTable(table, { width, best, heading: style.bold }));
  terminal.note(`${metric} on ${model.device.reason}`);
}

function checkedMetric({ metric, multivector }: SimilarityOptions): (typeof METRICS)[number] {
  const found = metric ?? (multivector ? 'maxsim' : 'cosine');
  if ((found === 'maxsim') === (multivector ?? false)) return found;
  throw new UsageError(
    multivector
      ? `--metric ${found} compares single vectors; with --multivector it is maxsim`
      : '--metric maxsim compares multi-vectors; add --multivector',
  );
}

const asMixed = (input: Input) => ('text' in input ? { text: input.text } : { image: input.image });

const labelOf = (input: Input): string =>
  'text' in input ? input.text || '(empty text)' : basename(input.image);
