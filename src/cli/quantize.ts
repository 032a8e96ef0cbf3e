import { createHash } from 'node:crypto';
import { Command, InvalidArgumentError, Option } from 'commander';
import { STORED_PRECISIONS, type StoredPrecision } from '../../weights/quantization-recipe.ts';
import { bytes, bytesOfAll, count, duration } from './amounts.ts';
import { UsageError } from './exit.ts';
import { notEmpty } from './option-values.ts';
import { type GlobalOptions, withExamples } from './options.ts';
import { packageVersion } from './package-folder.ts';
import { action, type Session } from './session.ts';

type QuantizeOptions = GlobalOptions & {
  readonly precision: StoredPrecision;
  readonly everywhere?: boolean;
  readonly shardSize?: number;
};

const WHAT_STAYS = `
Quantised are the linear maps of the vision and text blocks. int4 is for the gate and up projections of the
text blocks, nearly half of all parameters; the others get int8, unless --everywhere. The token table, the patch embedding, the
multi-vector projector, norms and biases keep their 16 bits; adapters, tokenizer and configs are copied.
Rounding is to nearest: the same source gives the same bytes.`;

export function quantizeCommand(signal: AbortSignal): Command {
  const command = new Command('quantize')
    .description('write a checkpoint with smaller weights, which loads like any other')
    .argument('<source>', 'checkpoint to read: a folder, a URL, or a name on the hub', notEmpty)
    .argument('<folder>', 'where the result goes; it appears when all is written', notEmpty)
    .addOption(
      new Option('--precision <type>', 'of the linear maps').choices(STORED_PRECISIONS).makeOptionMandatory(),
    )
    .option('--everywhere', 'int4 for all maps, not only where it costs little: smaller, and less exact')
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
  );
}

async function quantize(
  source: string,
  output: string,
  { precision, everywhere, shardSize, json }: QuantizeOptions,
  { terminal, signal }: Session,
): Promise<void> {
  if (everywhere && precision !== 'int4')
    throw new UsageError(`--everywhere is about int4; ${precision} is for all linear maps anyway`);
  const { openDraftFolder } = await import('./draft-folder.ts');
  const { nodeDoor } = await import('../platform/node.ts');
  const { quantizeCheckpoint } = await import('../quantize-checkpoint.ts');
  const draft = await openDraftFolder(output);
  let begin = performance.now();
  const seconds = () => (performance.now() - begin) / 1000;
  const progress = await terminal.progress(
    `quantising to ${precision}`,
    (done, total) => `${bytesOfAll(done, total)}, ${bytes(done / seconds())}/s`,
  );
  try {
    const tree = await nodeDoor.openTree(source, signal);
    try {
      begin = performance.now();
      const made = await quantizeCheckpoint(tree, draft, {
        precision,
        everywhere,
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
              `in ${duration(seconds())} (${bytes(rate)}/s)\n`,
      );
    } finally {
      await tree.close();
    }
  } finally {
    progress.stop();
    await draft.discard();
  }
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
