import { Command, InvalidArgumentError } from 'commander';
import type { DeviceName } from '../config.ts';
import { bytes, count, counted } from './amounts.ts';
import type { CheckpointSummary } from './checkpoint-summary.ts';
import { LICENCE } from './licence.ts';
import type { Circumstances, Prediction } from './model-prediction.ts';
import { deviceOption, type GlobalOptions, modelOption, withExamples } from './options.ts';
import { imageOption, type PlanOptions, plannedBatches, tokensOption } from './plan-options.ts';
import { action, type Session } from './session.ts';
import { pairs } from './table.ts';

type InfoOptions = GlobalOptions & PlanOptions & { readonly model?: string; readonly device?: DeviceName };

export function infoCommand(signal: AbortSignal): Command {
  const command = new Command('info')
    .description(
      'describe a checkpoint; reads headers only, also of a repository on the hub, never the weights',
    )
    .argument(
      '[model]',
      'folder, URL or owner/name on the hub (default: the small one in this package)',
      notEmptyModel,
    )
    .addOption(modelOption().hideHelp()) // as every other command spells it
    .addOption(deviceOption())
    .addOption(tokensOption())
    .addOption(imageOption())
    .action(
      action<InfoOptions>(signal, (options, session, args) =>
        info(args[0] ?? options.model ?? null, options, session),
      ),
    );
  return withExamples(command, 'jina-embeddings info', 'jina-embeddings info ./jina-embeddings-v4 --json');
}

async function info(
  model: string | null,
  options: InfoOptions,
  { terminal, signal }: Session,
): Promise<void> {
  const { nodeDoor, openToLook } = await import('../platform/node.ts');
  const { predictCheckpoint } = await import('./model-prediction.ts');
  const { summarize } = await import('./checkpoint-summary.ts');
  const tree = await openToLook(model, signal);
  try {
    const summary = await summarize(tree, signal);
    const where = {
      ...(await deviceFor(options.device ?? 'auto')),
      free: nodeDoor.memory()?.free ?? null,
      batches: plannedBatches(options),
    };
    const prediction = { backend: where.backend, ...predictCheckpoint(summary, where) };
    const text = options.json
      ? `${JSON.stringify({ ...summary, prediction, licence: Object.fromEntries(LICENCE) })}\n`
      : describe(summary, prediction, terminal);
    await terminal.print(text);
  } finally {
    await tree.close();
  }
}

/** The one that would run the model here: predictions differ by backend. */
async function deviceFor(device: DeviceName): Promise<Pick<Circumstances, 'backend' | 'ownMemory'>> {
  const { nodeDoor } = await import('../platform/node.ts');
  const { DeviceManager, hasOwnMemory } = await import('../device.ts');
  const choice = await new DeviceManager(nodeDoor.engines).select({ device });
  return { backend: choice.backend, ownMemory: hasOwnMemory(choice) };
}

function describe(
  s: CheckpointSummary,
  prediction: Prediction & { readonly backend: string },
  { style: { bold }, columns: width }: Session['terminal'],
): string {
  const lines = (entries: readonly (readonly [string, string])[]) => pairs(entries, { width });
  const { vision: v, decoder: d } = s.config;
  const share = (n: number) => `${count(n).padStart(count(s.parameters.total).length)}`;
  const sections: readonly (readonly [string, string])[] = [
    [
      `${s.model}${s.randomWeights ? '  (random weights: its similarities mean nothing)' : ''}`,
      lines([
        ['vectors', `${d.hiddenSize} values; Matryoshka sizes ${s.config.matryoshkaDims.join(', ')}`],
        ['multi-vectors', `${s.config.multiVectorProjectorDim} values a token`],
        ['decoder', `${d.numHiddenLayers} layers of ${d.hiddenSize}, ${heads(d)}, MLP ${d.intermediateSize}`],
        [
          'vision tower',
          `${v.depth} blocks of ${v.hiddenSize}, ${v.numHeads} heads of ${v.headDim}, MLP ${v.intermediateSize}`,
        ],
        [
          'patches',
          `${v.patchSize} × ${v.patchSize} pixels, ${v.spatialMergeSize ** 2} make a token; windows of ${v.windowSize} pixels`,
        ],
        [
          'vocabulary',
          `${count(d.vocabSize)} rows; the tokenizer has ${count(s.tokenizer.tokens)} tokens (${bytes(s.tokenizer.bytes)})`,
        ],
      ]),
    ],
    [
      'Parameters',
      lines([
        ['vision tower', share(s.parameters.vision)],
        ['decoder', share(s.parameters.decoder)],
        ['projector', share(s.parameters.projector)],
        [
          'total',
          `${share(s.parameters.total)}   ${count(s.tensors)} tensors, stored as ${storedAs(s.stored)}`,
        ],
        ...(s.quantization ? [['quantised', recipeLine(s.quantization)] as const] : []),
      ]),
    ],
    ['Adapters', s.adapters.length ? lines(s.adapters.map(adapterLine)) : '  none\n'],
    [
      `Memory for the parameters${s.adapters.length ? ' and all adapters' : ''}`,
      lines([
        ...Object.entries(s.memory).map(([dtype, n]) => [dtype, bytes(n)] as const),
        ...(s.quantization ? [['as stored', bytes(asStored(s))] as const] : []),
      ]),
    ],
    [
      `Peak memory expected on ${prediction.backend}, by how the weights are kept`,
      lines(prediction.peaks.map((p) => [p.residence, peakLine(p)] as const)),
    ],
    [
      'GPU memory expected on webgpu, by precision of the weights',
      lines(prediction.gpu.map((p) => [p.precision, gpuLine(p)] as const)),
    ],
    ['Files', lines(s.files.map((f) => [f.name, bytes(f.bytes)] as const))],
  ];
  const text = sections.map(([title, body]) => `${bold(title)}\n${body}`).join('\n');
  return `${text}\n${bold('Licence')}\n${lines(LICENCE)}`;
}

const peakLine = (p: Prediction['peaks'][number]): string =>
  `${bytes(p.bytes).padStart(7)}  ${p.fits ? '' : 'does not fit here; '}` +
  `weights ${bytes(p.weights)}, adapters ${bytes(p.adapters)}, tokenizer ${bytes(p.tokenizer)}, ` +
  `work ${bytes(p.work)}, engine ${bytes(p.runtime)}`;

const gpuLine = (p: Prediction['gpu'][number]): string =>
  `${bytes(p.total).padStart(7)}  weights ${bytes(p.weights)}, adapters ${bytes(p.adapters + p.copies)}, work ${bytes(p.work + p.pool)}`;

const heads = (d: CheckpointSummary['config']['decoder']): string =>
  `${d.numAttentionHeads} query and ${d.numKeyValueHeads} key/value heads of ${d.headDim}`;

const storedAs = (stored: CheckpointSummary['stored']): string =>
  Object.entries(stored)
    .map(([dtype, n]) => `${dtype} (${bytes(n)})`)
    .join(', ');

type Recipe = NonNullable<CheckpointSummary['quantization']>;

const recipeLine = ({ precision, tool, calibration, source }: Recipe): string => {
  const short = (sha256: string) => `(sha256 ${sha256.slice(0, 12)}…)`;
  const from = source.map((f) => `${f.file} ${short(f.sha256)}`).join(', ');
  const inputs = calibration
    ? `, for ${counted(calibration.inputs, 'input')} ${short(calibration.sha256)}`
    : '';
  return `to ${precision} by ${tool}${inputs}, from ${from}`;
};

/** What the weights take as they lie in the files, with all adapters in their 16 bits. */
const asStored = (s: CheckpointSummary): number =>
  Object.values(s.stored).reduce((a, b) => a + b, 0) +
  2 * s.adapters.reduce((sum, a) => sum + a.parameters, 0);

const adapterLine = (a: CheckpointSummary['adapters'][number]): readonly [string, string] => [
  a.name,
  `rank ${a.ranks.join(', ')}, alpha ${a.alpha}, on ${a.modules} linear maps, ${count(a.parameters)} parameters`,
];

function notEmptyModel(word: string): string {
  if (word.trim() !== '') return word;
  throw new InvalidArgumentError('Expected a folder, a URL or owner/name on the hub.');
}
