import { Command, Option } from 'commander';
import { OUTPUT_PRECISIONS, type OutputPrecision, type Settings } from '../config.ts';
import type { JinaEmbeddings } from '../platform/node.ts';
import { counted, duration, inputsOf } from './amounts.ts';
import { checkFinite, type Embedded, type EmbeddingWriter, formatOf } from './embedding-writer.ts';
import type { Input } from './input-lines.ts';
import { addInputOptions, countInputs, type Given, inGroups, nothingIn, readInputs } from './inputs.ts';
import { callOptions, openModel, settingsOf } from './open-model.ts';
import { notEmpty } from './option-values.ts';
import { addModelOptions, type ModelOptions, NO_TASK, promptOption, withExamples } from './options.ts';
import { action, type Session } from './session.ts';

type EmbedOptions = ModelOptions & { readonly precision?: OutputPrecision; readonly output?: string };

/** Inputs that are read, embedded and written together: enough to form good batches, little beside the model. */
const GROUP = 256;

export function embedCommand(signal: AbortSignal): Command {
  const command = new Command('embed').description('embed texts and images');
  const given = addInputOptions(command);
  addModelOptions(command)
    .addOption(
      promptOption('-p, --prompt <name>', 'prefix of texts: what is searched with, or what is searched'),
    )
    .addOption(new Option('--precision <type>', 'element type of the embeddings').choices(OUTPUT_PRECISIONS))
    .option('-o, --output <file>', '.jsonl, .npy or .safetensors (default: JSON lines on stdout)', notEmpty)
    .action(action<EmbedOptions>(signal, (options, session) => embed(given, options, session)));
  return withExamples(
    command,
    'jina-embeddings embed --text "a red bicycle" --image photo.jpg',
    'jina-embeddings embed --input pages.jsonl --prompt passage --dim 256 --output pages.npy',
    `echo '{"id": 7, "text": "hello"}' | jina-embeddings embed --input - | jq .embedding`,
  );
}

async function embed(given: readonly Given[], options: EmbedOptions, session: Session): Promise<void> {
  const { terminal, signal } = session;
  const format = options.output === undefined ? null : formatOf(options.output, options);
  const settings = await settingsOf(options);
  const total = await countInputs(given, signal);
  const writer = await openWriter(format, options.output, settings.precision, session);
  try {
    const size = Math.max(GROUP, 8 * (settings.batchSize ?? 0));
    const groups = inGroups(readInputs(given, signal), size);
    let group = await groups.next(); // a bad first line is told before a model is loaded
    if (group.done) throw nothingIn(given);
    const begin = performance.now();
    using model = await openModel(options, settings, session);
    const loaded = performance.now();
    const progress = await terminal.progress('embedding', inputsOf, { onStdout: !format });
    const run = startRun(model, options, session);
    try {
      for (; !group.done; group = await groups.next()) {
        const base = run.count;
        await writer.write(await run.embed(group.value, (done) => progress.update(base + done, total ?? 0)));
      }
    } finally {
      progress.stop();
    }
    await writer.finish(aboutRun(model, settings, [...run.adapters]));
    warnOf(run, settings, session);
    const where = options.output === undefined ? '' : ` → ${options.output}`;
    const times = `loading ${duration((loaded - begin) / 1000)}, embedding ${duration((performance.now() - loaded) / 1000)}`;
    terminal.note(`${counted(run.count, 'input')}${where} (${times}) on ${model.device.reason}`);
  } finally {
    await writer.discard();
  }
}

/** Runs groups of inputs one after the other, and keeps count of what happened. */
function startRun(model: JinaEmbeddings, options: EmbedOptions, session: Session) {
  const call = callOptions(options, session);
  const byDefault =
    options.task === NO_TASK
      ? null
      : (model.config.settings.task ?? model.model.adapters.keys().next().value ?? null);
  const adapters = new Set<string>();
  const aliases = new Map<string, string>();
  const cut: number[] = [];
  let count = 0;
  return {
    adapters: adapters as ReadonlySet<string>,
    /** Tasks that ran on an adapter of another name. */
    aliases: aliases as ReadonlyMap<string, string>,
    /** Places of the texts that were longer than allowed. */
    cut: cut as readonly number[],
    get count() {
      return count;
    },
    async embed(inputs: readonly Input[], onProgress: (done: number) => void) {
      const tasks = inputs.map((i) => (i.task === undefined ? byDefault : i.task));
      const embeddings = await model.encode(
        inputs.map((i) => ('text' in i ? { text: i.text } : { image: i.image })),
        { ...call, task: tasks, onProgress },
      );
      return embeddings.map((embedding, i) => {
        const index = count++;
        const { type, task, adapter, truncated } = model.detailsOf(embedding) as NonNullable<
          ReturnType<typeof model.detailsOf>
        >;
        adapters.add(adapter ?? 'none');
        const alone = adapter !== null && model.model.adapters.has(adapter); // not a mix, which was asked for
        if (task !== null && alone && task !== adapter) aliases.set(task, adapter);
        if (truncated) cut.push(index);
        const embedded: Embedded = { index, id: inputs[i].id, type, embedding };
        checkFinite(embedded);
        return embedded;
      });
    },
  };
}

function warnOf(run: ReturnType<typeof startRun>, { maxLength }: Settings, { terminal }: Session): void {
  for (const [task, adapter] of run.aliases)
    terminal.warn(`this model has no adapter "${task}"; "${adapter}" ran in its place`);
  if (run.cut.length === 0) return;
  const first = run.cut.length === 1 ? `input ${run.cut[0]}` : `the first is input ${run.cut[0]}`;
  terminal.warn(`${counted(run.cut.length, 'text')} cut to ${maxLength} tokens (${first}); see --max-length`);
}

const aboutRun = (
  model: JinaEmbeddings,
  { promptName, precision }: Settings,
  adapters: readonly string[],
) => ({
  model: model.name,
  task: adapters.join(', '),
  prompt: promptName,
  precision,
});

async function openWriter(
  format: ReturnType<typeof formatOf> | null,
  path: string | undefined,
  precision: OutputPrecision,
  { terminal }: Session,
): Promise<EmbeddingWriter> {
  if (format === null || path === undefined)
    return (await import('./jsonl-writer.ts')).jsonlToStdout(terminal.print);
  if (format === 'jsonl') return (await import('./jsonl-writer.ts')).jsonlToFile(path);
  if (format === 'npy') return (await import('./npy-writer.ts')).npyToFile(path, precision);
  return (await import('./safetensors-file-writer.ts')).safetensorsToFile(path, precision);
}
