import { SingleBar } from 'cli-progress';
import { Command, InvalidArgumentError, Option } from 'commander';
import pc from 'picocolors';
import { InputError } from '../src/errors.ts';
import { GEOMETRIES } from './make-checkpoint/geometries.ts';
import type { WeightDtype } from './make-checkpoint/random-values.ts';
import { makeCheckpoint } from './make-checkpoint/write-checkpoint.ts';

// node --import tsx bench/make-checkpoint.ts --out FOLDER …
// Writes a checkpoint of seeded random weights in the published layout, of any geometry.

type Flags = {
  out: string;
  geometry: string;
  layers?: number;
  visionDepth?: number;
  seed: number;
  dtype: string;
  shardSize: number;
  rank?: number;
  tasks: readonly string[];
  adapters: boolean;
  tokenizer: string;
  force: boolean;
};

const whole =
  (least: number) =>
  (word: string): number => {
    const n = Number(word);
    if (Number.isSafeInteger(n) && n >= least) return n;
    throw new InvalidArgumentError(`expected a whole number, ${least} or more`);
  };

/** `5GB`, `300MB`, `1000` → bytes; powers of ten, as the hub counts. */
function size(word: string): number {
  const [, digits, unit = ''] = /^(\d+(?:\.\d+)?)\s*([KMG]?)B?$/i.exec(word) ?? [];
  if (digits === undefined) throw new InvalidArgumentError('expected a size such as 5GB or 300MB');
  return Math.round(Number(digits) * { '': 1, K: 1e3, M: 1e6, G: 1e9 }[unit.toUpperCase() as 'K']);
}

const program = new Command('make-checkpoint')
  .description('Writes a checkpoint of seeded random weights in the published layout.')
  .requiredOption('--out <folder>', 'folder to write; it appears when all is written')
  .option('--geometry <name>', `${Object.keys(GEOMETRIES).join(', ')}, or a config.json`, 'published')
  .option('--layers <n>', "decoder blocks instead of the geometry's", whole(1))
  .option('--vision-depth <n>', "vision blocks instead of the geometry's", whole(1))
  .option('--seed <n>', 'the same seed gives the same bytes', whole(0), 1)
  .addOption(new Option('--dtype <name>', 'number format').choices(['bf16', 'f16', 'f32']).default('bf16'))
  .option('--shard-size <bytes>', 'tensors in one file, at most', size, 5e9)
  .option('--rank <r>', "LoRA rank instead of the geometry's", whole(1))
  .option('--tasks <names>', 'adapters', (names: string) => names.split(','), [
    'retrieval',
    'text-matching',
    'code',
  ])
  .option('--no-adapters', 'the backbone alone')
  .option('--tokenizer <file>', 'a tokenizer.json of the Qwen2-VL kind', 'byte-level')
  .option('--force', 'replace a checkpoint of random weights', false);

const flags = program.parse().opts<Flags>();
const interrupt = new AbortController();
process.once('SIGINT', () => interrupt.abort());
process.once('SIGTERM', () => interrupt.abort());

const bar = process.stderr.isTTY
  ? new SingleBar({
      format: `${flags.out} {bar} {percentage}% | {value}/{total} MB | {eta_formatted} left`,
      stream: process.stderr,
    })
  : null;
try {
  bar?.start(0, 0);
  const made = await makeCheckpoint({
    ...flags,
    dtype: flags.dtype.toUpperCase() as WeightDtype,
    signal: interrupt.signal,
    onProgress(done, total) {
      bar?.setTotal(Math.ceil(total / 1e6));
      bar?.update(Math.ceil(done / 1e6));
    },
  });
  bar?.stop();
  console.log(
    JSON.stringify({
      ...made,
      gbPerSecond: Number((made.bytes / made.seconds / 1e9).toFixed(3)),
    }),
  );
} catch (error) {
  bar?.stop();
  if (interrupt.signal.aborted) {
    console.error(pc.yellow('stopped; nothing was left behind'));
    process.exitCode = 130;
  } else {
    const known = error instanceof InputError || (error as Error).name === 'CheckpointError';
    console.error(pc.red(known ? (error as Error).message : String((error as Error).stack)));
    process.exitCode = 1;
  }
}
