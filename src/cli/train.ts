import { Command, InvalidArgumentError, Option } from 'commander';
import type { DeviceName } from '../config.ts';
import { parameterCount } from '../params.ts';
import type { JinaEmbeddings } from '../platform/node.ts';
import type { LossKind } from '../train/examples.ts';
import type { LoraTrainable } from '../train/lora-variables.ts';
import type { ExampleRecord } from '../train/records.ts';
import { sizesToLearn } from '../train/teacher-records.ts';
import type { TrainOptions, TrainReport } from '../train/train-adapter.ts';
import type { WeightsTrainable } from '../train/weight-variables.ts';
import { checkSizes } from '../wishes.ts';
import type { SaveAdapter } from './adapters-combine.ts';
import { count, duration } from './amounts.ts';
import { UsageError } from './exit.ts';
import { htmlName, writeHtml } from './html-file.ts';
import { openModel, settingsOf } from './open-model.ts';
import { notEmpty, wholeNumber } from './option-values.ts';
import { deviceOption, type GlobalOptions, modelOption, promptOption, withExamples } from './options.ts';
import { action, type Session } from './session.ts';
import { checkNoCheckpoint, checkTrainable, writeTrained } from './trained-checkpoint.ts';
import { readExamples } from './training-data.ts';
import { openTrainingFolder, type TrainingFolder } from './training-folder.ts';
import { trainingPage } from './training-report.ts';

type TrainCommandOptions = GlobalOptions & {
  readonly output: string;
  readonly model?: string;
  readonly name?: string;
  readonly rank?: number;
  readonly alpha?: number;
  readonly rslora?: boolean;
  readonly dora?: boolean;
  readonly allWeights?: boolean;
  readonly loss?: LossKind;
  readonly temperature?: number;
  readonly teacherTemperature?: number;
  readonly margin?: number;
  readonly dim?: readonly number[];
  readonly multivector?: number;
  readonly epochs?: number;
  readonly batchSize?: number;
  readonly accumulate?: number;
  readonly rate?: number;
  readonly warmup?: number;
  readonly weightDecay?: number;
  readonly clip?: number;
  readonly seed?: number;
  readonly recompute?: boolean;
  readonly chunk?: number;
  readonly anchorPrompt?: 'query' | 'passage';
  readonly positivePrompt?: 'query' | 'passage';
  readonly keepEvery?: number;
  readonly resume?: boolean;
  readonly html?: string;
  readonly device?: DeviceName;
  readonly maxPixels?: number;
  readonly maxLength?: number;
};

export function trainCommand(signal: AbortSignal, save: SaveAdapter): Command {
  const command = new Command('train')
    .description(
      'train a LoRA adapter on your pairs of texts and images, written as a PEFT folder; or all weights',
    )
    .argument(
      '<data.jsonl>',
      'anchor and positive a line, perhaps negatives or a score; or what a teacher says',
      notEmpty,
    )
    .requiredOption(
      '-o, --output <folder>',
      'where the adapter (or checkpoint), the state of the run and its log go',
      notEmpty,
    )
    .addOption(modelOption())
    .option('--name <name>', 'what the adapter is called (default: trained)', notEmpty)
    .option('--rank <n>', 'rank of the LoRA (default: 32)', wholeNumber)
    .option('--alpha <x>', 'its scale is alpha / rank (default: the rank)', positive)
    .option('--rslora', 'its scale is alpha / √rank')
    .option('--dora', 'a DoRA: the lengths of the columns are learned, too; slower')
    .option('--all-weights', 'no LoRA: all weights of a small model, written as a checkpoint')
    .addOption(
      new Option(
        '--loss <name>',
        "default: distillation of a teacher's scores or vectors, coSent where pairs have scores, else infoNce",
      ).choices(['infoNce', 'coSent', 'triplet', 'distillation']),
    )
    .option('--temperature <x>', 'of the loss (default: 0.02, coSent and distillation 0.05)', positive)
    .option('--teacher-temperature <x>', "of a teacher's scores (default: --temperature)", positive)
    .option('--margin <x>', 'of the triplet loss (default: 0.2)', positive)
    .option(
      '--dim <n>',
      "Matryoshka size to train; repeatable (default: all; up to that of a teacher's vectors)",
      also,
    )
    .option('--multivector <weight>', 'train multi-vectors, too, with this weight', positive)
    .option('--epochs <n>', 'passes through the data (default: 1)', positive)
    .option('--batch-size <n>', 'examples that are negatives for each other (default: 32)', wholeNumber)
    .option('--accumulate <n>', 'batches an update (default: 1)', wholeNumber)
    .option('--rate <x>', 'peak learning rate (default: 2e-4)', positive)
    .option('--warmup <part>', 'part of the updates in which the rate rises (default: 0.05)', part)
    .option('--weight-decay <x>', 'of AdamW (default: 0.01)', notNegative)
    .option('--clip <norm>', 'gradients are scaled down to this norm (default: 1)', positive)
    .option('--seed <n>', 'of first weights and order; the same seed, the same run (default: 0)', wholeNumber)
    .option('--recompute', 'less memory for a third more time: blocks run again on the way back')
    .option('--chunk <n>', 'less memory for large batches: this many inputs at once', wholeNumber)
    .addOption(promptOption('--anchor-prompt <name>', 'prefix of anchors (default: query)'))
    .addOption(
      promptOption('--positive-prompt <name>', 'prefix of the rest (default: passage; scored: query)'),
    )
    .option('--keep-every <n>', 'updates after which the state is kept (default: 100)', wholeNumber)
    .option('--resume', 'go on from the state in the output folder')
    .option('--html <file>', 'the course of the loss as a web page', htmlName)
    .addOption(deviceOption())
    .option('--max-pixels <n>', 'images are resized down to this many pixels', wholeNumber)
    .option('--max-length <n>', 'texts are cut to this many tokens', wholeNumber)
    .action(
      action<TrainCommandOptions>(signal, async (options, session, [file]) => {
        checkOptions(options);
        const examples = await readExamples(file, session.signal);
        await train(file, examples, options, session, save);
      }),
    );
  return withExamples(
    command,
    'jina-embeddings train pairs.jsonl --output ./my-lora',
    'jina-embeddings train pairs.jsonl --output ./my-lora --rank 16 --epochs 3 --html course.html',
    'jina-embeddings train pairs.jsonl --output ./my-lora --rank 16 --epochs 3 --resume',
    'jina-embeddings train pairs.jsonl --output ./my-model --all-weights',
  );
}

const LORA_OPTIONS = ['name', 'rank', 'alpha', 'rslora', 'dora'] as const;

function checkOptions(options: TrainCommandOptions): void {
  const said = LORA_OPTIONS.filter((word) => options[word] !== undefined);
  if (!options.allWeights || said.length === 0) return;
  throw new UsageError(
    `--all-weights trains no LoRA, of which ${said.map((word) => `--${word}`).join(', ')} speaks; leave out one or the other`,
  );
}

async function train(
  file: string,
  examples: readonly ExampleRecord[],
  options: TrainCommandOptions,
  session: Session,
  save: SaveAdapter,
): Promise<void> {
  const { terminal } = session;
  const { config, device, maxPixels, maxLength } = options;
  const settings = await settingsOf({ config, device, maxPixels, maxLength });
  const folder = await openTrainingFolder(options.output);
  try {
    const resume = options.resume ? await folder.readState() : undefined;
    if (options.allWeights) await checkNoCheckpoint(options.output);
    using model = await openModel(options, settings, session);
    if (options.allWeights) await checkTrainable(model);
    const begin = performance.now();
    const { trainable, last } = await run(model, examples, { ...options, resume }, session, folder);
    try {
      if ('adapter' in trainable) await save(trainable.adapter, options.output);
      else await writeTrained(options.model, trainable, options.output);
      await folder.dropState();
    } finally {
      trainable.dispose();
    }
    const seconds = (performance.now() - begin) / 1000;
    const facts = {
      data: file,
      examples: examples.length,
      model: model.name,
      backend: model.device.backend,
      ...trainedFacts(trainable),
      updates: last.updates,
      loss: last.loss,
      seconds,
    };
    const title = `Training of ${options.allWeights ? model.name : (options.name ?? 'an adapter')}`;
    await writeHtml(options.html, () => trainingPage(title, folder.steps, facts));
    if (options.json) await terminal.print(`${JSON.stringify({ output: options.output, ...facts })}\n`);
    else {
      await terminal.print(
        `${options.output}: ${facts.trained}, ${count(facts.parameters)} parameters, ` +
          `loss ${last.loss.toFixed(4)} after ${count(last.updates)} updates\n`,
      );
    }
    terminal.note(`training took ${duration(seconds)} on ${model.device.reason}`);
  } finally {
    await folder.close();
  }
}

type Facts = Readonly<Record<string, string | number>> & {
  readonly trained: string;
  readonly parameters: number;
};

const trainedFacts = (trainable: LoraTrainable | WeightsTrainable): Facts => {
  if ('adapter' in trainable) {
    const { rank, parameters, terms } = trainable.adapter;
    const dora = [...terms.values()].some((term) => term.dora);
    return { trained: `${dora ? 'DoRA' : 'LoRA'} of rank ${rank}`, parameters, rank };
  }
  return { trained: 'all weights', parameters: parameterCount(trainable.model.spec) };
};

async function run(
  model: JinaEmbeddings,
  examples: readonly ExampleRecord[],
  options: Omit<TrainCommandOptions, 'resume'> & { readonly resume?: Uint8Array },
  { terminal, signal }: Session,
  folder: TrainingFolder,
) {
  for (const size of options.dim ?? []) checkSizes(model.model.config, size);
  const { decoder, matryoshkaDims } = model.model.config;
  const sizes = sizesToLearn(examples, {
    width: decoder.hiddenSize,
    known: matryoshkaDims,
    asked: options.dim,
  });
  const { exampleSource } = await import('../train/prepare-examples.ts');
  const { trainAdapter } = await import('../train/train-adapter.ts');
  const { anchorPrompt, positivePrompt, weightDecay, clip, dim: _, multivector, ...rest } = options;
  const data = exampleSource(model, examples, { anchorPrompt, positivePrompt, signal });
  let shown: TrainReport | null = null;
  let dropped = 0;
  const progress = await terminal.progress('training', (done, total) => {
    const loss = shown ? `, loss ${shown.loss.toFixed(4)}` : '';
    return `${count(done)} of ${count(total)} updates${loss}`;
  });
  let before = performance.now();
  try {
    const how: TrainOptions = {
      ...rest,
      signal,
      sizes,
      multi: multivector,
      clipNorm: clip,
      optimizer: weightDecay === undefined ? undefined : { weightDecay },
      keep: async (state, update) => {
        await folder.writeState(state);
        if (signal.aborted)
          terminal.warn(`stopped after ${count(update)} updates; --resume goes on from there`);
      },
      onStep: async (report) => {
        shown = report;
        dropped += report.dropped;
        const now = performance.now();
        const { update, epoch, loss, norm, rate } = report;
        await folder.log({ update, epoch, loss, norm, rate, seconds: (now - before) / 1000 });
        before = now;
        progress.update(update + 1, report.updates);
      },
    };
    return await (rest.allWeights
      ? trainAdapter(model.model, data, { ...how, allWeights: true })
      : trainAdapter(model.model, data, { ...how, allWeights: false }));
  } finally {
    progress.stop();
    if (dropped > 0)
      terminal.warn(`left out: ${count(dropped)} of the batches, whose pairs all had one score`);
  }
}

const also = (word: string, list: readonly number[] = []): readonly number[] => [...list, wholeNumber(word)];

const numberWhere = (fits: (x: number) => boolean, what: string) => (word: string) => {
  const value = Number(word);
  if (word.trim() !== '' && Number.isFinite(value) && fits(value)) return value;
  throw new InvalidArgumentError(`Expected ${what}.`);
};
const positive = numberWhere((x) => x > 0, 'a number above 0');
const notNegative = numberWhere((x) => x >= 0, 'a number, 0 or more');
const part = numberWhere((x) => x >= 0 && x < 1, 'a number from 0 to below 1');
