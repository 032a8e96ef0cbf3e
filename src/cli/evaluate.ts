import { Command } from 'commander';
import type { Settings } from '../config.ts';
import type { EvaluationRun, Report } from '../evaluate/encoder.ts';
import type { JinaEmbeddings } from '../platform/node.ts';
import { adapterFor, checkSizes } from '../wishes.ts';
import { count, duration, inputsOf } from './amounts.ts';
import { readCollection, readLabelled, readPairs } from './evaluation-data.ts';
import { reportJson, reportTable } from './evaluation-report.ts';
import { UsageError } from './exit.ts';
import { htmlName, writeHtml } from './html-file.ts';
import { openModel, settingsOf } from './open-model.ts';
import { notEmpty, wholeNumber } from './option-values.ts';
import {
  addGlobalOptions,
  addRunOptions,
  type ModelOptions,
  modelOption,
  NO_TASK,
  promptOption,
  withExamples,
} from './options.ts';
import { saysRandom } from './random-weights.ts';
import { action, type Session } from './session.ts';

type EvaluateOptions = Omit<ModelOptions, 'task' | 'dim'> & {
  readonly task?: readonly string[];
  readonly dim?: readonly number[];
  readonly html?: string;
  readonly split: string;
  readonly depth?: number;
  readonly allowMissing?: boolean;
  readonly neighbours?: number;
  readonly clusters?: number;
  readonly seed?: number;
  readonly restarts?: number;
};

/** Data that has been read and checked, and what is to be done with it once there is a model. */
type Evaluation = (run: EvaluationRun) => Promise<Report>;

export function evaluateCommand(signal: AbortSignal): Command {
  const command = new Command('evaluate').description(
    'measure a checkpoint on your data: every adapter, at every Matryoshka size',
  );
  for (const one of [retrieval, similarity, classification, clustering])
    command.addCommand(addGlobalOptions(one(signal)));
  return withExamples(
    command,
    'jina-embeddings evaluate retrieval ./nfcorpus --task retrieval --task none',
    'jina-embeddings evaluate similarity pairs.csv --json',
    'jina-embeddings evaluate classification train.jsonl test.jsonl --dim 128 --dim 1024',
    'jina-embeddings evaluate clustering items.jsonl --seed 7',
  );
}

const retrieval = (signal: AbortSignal): Command =>
  evaluation('retrieval', signal, async ([folder], options, session) => {
    const { multivector, depth } = options;
    if (multivector && options.dim)
      throw new UsageError(
        '--dim shortens single vectors; multi-vectors have one size: leave out --dim or --multivector',
      );
    const where = {
      split: options.split,
      allowMissing: options.allowMissing ?? false,
      signal: session.signal,
    };
    const data = await readCollection(folder, where);
    const { evaluateRetrieval } = await import('../evaluate/retrieval.ts');
    return (run) => evaluateRetrieval(data, run, { multivector, depth });
  })
    .description('nDCG, recall, MRR and MAP on a folder as BEIR has them; documents may be images')
    .argument('<folder>', 'holds corpus.jsonl, queries.jsonl and qrels/test.tsv', notEmpty)
    .option('--split <name>', 'judgments to use: qrels/<name>.tsv', notEmpty, 'test')
    .option('--depth <n>', 'documents ranked for a query (default: 1000)', wholeNumber)
    .option('--allow-missing', 'judged documents that the corpus lacks count as never found')
    .option('--multivector', 'compare one vector a token (MaxSim) instead of one an input');

const similarity = (signal: AbortSignal): Command =>
  evaluation('similarity', signal, async ([file], { prompt }, session) => {
    const pairs = await readPairs(file, session.signal);
    const { checkPairs, evaluateSimilarity } = await import('../evaluate/similarity.ts');
    checkPairs(pairs);
    return (run) => evaluateSimilarity(pairs, run, { promptName: prompt });
  })
    .description("correlation of the cosine with people's scores of pairs")
    .argument('<file>', 'a, b and score: JSON lines, or a .csv with these columns', notEmpty)
    .addOption(promptOption('-p, --prompt <name>', 'prefix of texts (default: query)'));

const classification = (signal: AbortSignal): Command =>
  evaluation('classification', signal, async ([train, test], { prompt, neighbours }, session) => {
    const data = {
      train: await readLabelled(train, session.signal),
      test: await readLabelled(test, session.signal),
    };
    const { checkLabels, evaluateClassification } = await import('../evaluate/classification.ts');
    checkLabels(data.train, data.test);
    return (run) => evaluateClassification(data, run, { promptName: prompt, neighbours });
  })
    .description('logistic regression and nearest neighbours on frozen embeddings')
    .argument('<train>', 'JSON lines with text or image, and label', notEmpty)
    .argument('<test>', 'the same, for what is asked', notEmpty)
    .addOption(promptOption('-p, --prompt <name>', 'prefix of texts (default: query)'))
    .option('--neighbours <n>', 'nearest neighbours that vote (default: 5)', wholeNumber);

const clustering = (signal: AbortSignal): Command =>
  evaluation('clustering', signal, async ([file], options, session) => {
    const { prompt, clusters, seed, restarts } = options;
    const items = await readLabelled(file, session.signal);
    const { checkClustering, evaluateClustering } = await import('../evaluate/clustering.ts');
    checkClustering(items, clusters);
    return (run) => evaluateClustering(items, run, { promptName: prompt, clusters, seed, restarts });
  })
    .description('k-means, compared with labels: V-measure, homogeneity, completeness')
    .argument('<file>', 'JSON lines with text or image, and label', notEmpty)
    .addOption(promptOption('-p, --prompt <name>', 'prefix of texts (default: query)'))
    .option('--clusters <n>', 'clusters to form (default: as many as there are labels)', wholeNumber)
    .option('--seed <n>', 'beginnings of k-means; the same seed, the same result (default: 0)', wholeNumber)
    .option('--restarts <n>', 'beginnings to try (default: 10)', wholeNumber);

/** A subcommand: `read` runs before a model is loaded, so that a bad line is told at once. */
function evaluation(
  name: Report['task'],
  signal: AbortSignal,
  read: (args: readonly string[], options: EvaluateOptions, session: Session) => Promise<Evaluation>,
): Command {
  const command = new Command(name)
    .addOption(modelOption())
    .option(
      '-t, --task <name>',
      'adapter to evaluate; repeatable; none: the backbone alone (default: all)',
      also,
    )
    .option(
      '--dim <n>',
      'Matryoshka size to evaluate; repeatable (default: all)',
      (word, list?: number[]) => [...(list ?? []), wholeNumber(word)],
    );
  addRunOptions(command).option('--html <file>', 'a report with plots, as a web page', htmlName);
  return command.action(
    action<EvaluateOptions>(signal, async (options, session, args) =>
      evaluate(await read(args, options, session), options, session),
    ),
  );
}

async function evaluate(run: Evaluation, options: EvaluateOptions, session: Session): Promise<void> {
  const { terminal, signal } = session;
  const { task, dim, ...rest } = options;
  const settings = await settingsOf(rest);
  using model = await openModel(options, settings, session);
  const { adapters, sizes } = choices(model, settings, { task, dim });
  const { encodeWith } = await import('../evaluate/encoder.ts');
  const progress = await terminal.progress('embedding', inputsOf);
  const begin = performance.now();
  const report = await run({
    encode: encodeWith(model),
    adapters,
    sizes,
    signal,
    onProgress: progress.update,
  }).finally(progress.stop);
  const seconds = (performance.now() - begin) / 1000;
  await writeHtml(options.html, async () => {
    const { evaluationPage } = await import('../evaluate/evaluation-page.ts');
    return evaluationPage(report, model.name);
  });
  const randomWeights = await saysRandom(options.model);
  if (options.json || terminal.columns === null) {
    const about = { model: model.name, randomWeights, backend: model.device.backend, seconds };
    await terminal.print(reportJson(report, about));
  } else {
    await terminal.print(`${reportTable(report, terminal)}\n${countsLine(report)}\n`);
    if (randomWeights)
      await terminal.print('The weights of this checkpoint are random: its figures mean nothing yet.\n');
  }
  const { queriesWithoutRelevant: silent = 0 } = report.counts;
  if (silent > 0)
    terminal.warn(`left out: ${count(silent)} of the judged queries, which have no relevant document`);
  terminal.note(`${report.task} took ${duration(seconds)} on ${model.device.reason}`);
}

const also = (word: string, list: readonly string[] = []): readonly string[] => [...list, notEmpty(word)];

/** Adapters and sizes, as asked for or all. @throws InputError for one that the checkpoint does not have */
function choices(
  { model, name }: JinaEmbeddings,
  settings: Settings,
  { task, dim }: Pick<EvaluateOptions, 'task' | 'dim'>,
): Pick<EvaluationRun, 'adapters' | 'sizes'> {
  const all = [...model.adapters.keys()];
  const wanted = task?.map((word) => (word === NO_TASK ? null : word)) ?? [...all, null];
  for (const one of wanted) adapterFor(one, settings, all, name);
  const sizes = dim ?? model.config.matryoshkaDims;
  for (const size of sizes) checkSizes(model.config, size);
  return { adapters: [...new Set(wanted)], sizes };
}

/** `queries 323, documents 3,633` */
const countsLine = ({ counts }: Report): string =>
  Object.entries(counts)
    .map(([what, n]) => `${what.replace(/[A-Z]/g, (c) => ` ${c.toLowerCase()}`)} ${count(n)}`)
    .join(', ');
