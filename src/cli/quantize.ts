import { createHash } from 'node:crypto';
import { Command, InvalidArgumentError, Option } from 'commander';
import { STORED_PRECISIONS, type StoredPrecision } from '../../weights/quantization-recipe.ts';
import type { QuantizedCheckpoint } from '../quantize/quantize-checkpoint.ts';
import { bytes, bytesOfAll, count, counted, duration } from './amounts.ts';
import type { OpenCalibration } from './calibration.ts';
import { UsageError } from './exit.ts';
import { notEmpty } from './option-values.ts';
import { type GlobalOptions, withExamples } from './options.ts';
import { packageVersion } from './package-folder.ts';
import { action, type Session } from './session.ts';

type QuantizeOptions = GlobalOptions & {
  readonly precision: StoredPrecision;
  readonly everywhere?: boolean;
  readonly shardSize?: number;
  readonly calibrate?: string;
};

const WHAT_STAYS = `
Quantised are the linear maps of the vision and text blocks. int4 is for the gate and up projections of the
text blocks, nearly half of all parameters; the others get int8, unless --everywhere. The token table, the patch embedding, the
multi-vector projector, norms and biases keep their 16 bits; adapters, tokenizer and configs are copied.
Each weight is rounded to the nearest: the same source gives the same bytes. --calibrate rounds int4 maps so that what
they give for your inputs changes least (GPTQ): lines as "embed --input" takes them, a thousand of the kind that will
be embedded, texts and images. A line without "task" runs with none and with each adapter in turn.`;

export function quantizeCommand(signal: AbortSignal): Command {
  const command = new Command('quantize')
    .description('write a checkpoint with smaller weights, which loads like any other')
    .argument('<source>', 'checkpoint to read: a folder, a URL, or a name on the hub', notEmpty)
    .argument('<folder>', 'where the result goes; it appears when all is written', notEmpty)
    .addOption(
      new Option('--precision <type>', 'of the linear maps').choices(STORED_PRECISIONS).makeOptionMandatory(),
    )
    .option(
      '--everywhere',
      'int4 for 93 % of all their weights, not only where it costs little: smaller, and less exact',
    )
    .option(
      '--calibrate <file.jsonl>',
      'inputs that int4 maps are rounded for: slower, and more exact',
      notEmpty,
    )
    .option('--shard-size <bytes>', 'tensors in one file at most, as 2GB or 500MB (default: 5GB)', size)
    .addHelpText('after', WHAT_STAYS)
    .action(
      action<QuantizeOptions>(signal, (options, session, [source, folder]) =>
        quantize(source, folder, options, session),
      ),
    );
  return withExamples(
    command,
    'jina-embeddings quantize ./jina-embeddings-v4 ./jina-int8 --precision int8',
    'jina-embeddings quantize jinaai/jina-embeddings-v4 ./jina-int4 --precision int4',
    'jina-embeddings quantize ./jina-embeddings-v4 ./jina-int4 --precision int4 --everywhere --calibrate inputs.jsonl',
  );
}

async function quantize(
  source: string,
  output: string,
  { precision, everywhere, shardSize, calibrate, json }: QuantizeOptions,
  session: Session,
): Promise<void> {
  const { terminal, signal } = session;
  if (everywhere && precision !== 'int4')
    throw new UsageError(`--everywhere is about int4; ${precision} is for all linear maps anyway`);
  if (calibrate !== undefined && precision !== 'int4')
    throw new UsageError(`--calibrate is about int4; ${precision} needs no inputs`);
  const { openDraftFolder } = await import('./draft-folder.ts');
  const { nodeDoor } = await import('../platform/node.ts');
  const { quantizeCheckpoint } = await import('../quantize/quantize-checkpoint.ts');
  const draft = await openDraftFolder(output);
  let begin = performance.now();
  const seconds = () => (performance.now() - begin) / 1000;
  const progress = await terminal.progress(
    `quantising to ${precision}`,
    (done, total) => `${bytesOfAll(done, total)}, ${bytes(done / seconds())}/s`,
  );
  try {
    const tree = await nodeDoor.openTree(source, signal);
    let calibration: OpenCalibration | undefined;
    try {
      if (calibrate !== undefined) {
        const { openCalibration } = await import('./calibration.ts');
        calibration = await openCalibration(calibrate, tree, session);
      }
      begin = performance.now();
      const made = await quantizeCheckpoint(tree, draft, {
        precision,
        everywhere,
        calibration,
        shardSize,
        tool: `jina-embeddings ${packageVersion()}`,
        sha256: () => {
          const hash = createHash('sha256');
          return { update: (data) => void hash.update(data), hex: () => hash.digest('hex') };
        },
        signal,
        onProgress: progress.update,
      });
      signal.throwIfAborted();
      await draft.commit();
      progress.stop();
      const { recipe, files, ...numbers } = made;
      const rate = made.sourceBytes / seconds();
      await terminal.print(
        json || terminal.columns === null
          ? `${JSON.stringify({ output, precision, ...numbers, seconds: seconds(), source: recipe.source, files })}\n`
          : `${output}: ${mapsOf(made.parameters)}, ${bytes(made.sourceBytes)} → ${bytes(made.bytes)}, ` +
              `in ${duration(seconds())} (${bytes(rate)}/s)${roundedFor(made)}\n`,
      );
    } finally {
      calibration?.dispose();
      await tree.close();
    }
  } finally {
    progress.stop();
    await draft.discard();
  }
}

function roundedFor({ recipe, calibrated }: QuantizedCheckpoint): string {
  if (!calibrated || !recipe.calibration) return '';
  const { maps, unreached } = calibrated;
  const rest = unreached > 0 ? `; ${counted(unreached, 'map')} that these never reach, to the nearest` : '';
  return `; ${counted(maps, 'int4 map')} rounded for ${counted(recipe.calibration.inputs, 'input')}${rest}`;
}

const mapsOf = (parameters: Readonly<Record<string, number>>): string =>
  Object.entries(parameters)
    .map(([type, n]) => `${count(n)} parameters in ${type}`)
    .join(', ');

/** `5GB`, `300MB`, `1000` → bytes; powers of ten, as the hub counts. */
function size(word: string): number {
  const [, digits, unit = ''] = /^(\d+(?:\.\d+)?)\s*([KMG]?)B?$/i.exec(word) ?? [];
  const value = Math.round(Number(digits) * { '': 1, K: 1e3, M: 1e6, G: 1e9 }[unit.toUpperCase() as 'K']);
  if (value > 0) return value;
  throw new InvalidArgumentError('Expected a size such as 5GB or 300MB.');
}
