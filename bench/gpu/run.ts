import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command, Option } from 'commander';
import { JinaEmbeddings } from '../../src/platform/node.ts';
import { measurePeaks } from '../../src/profile/peaks.ts';
import { profileRun } from '../../src/profile/profile-run.ts';
import { makeCheckpoint } from '../make-checkpoint/write-checkpoint.ts';
import { printLine } from '../measure.ts';
import { type Case, DOCUMENT, imageCases, QUERY, textCases, timeCase } from './cases.ts';
import { shareByVariant, shareOfPass } from './linear-maps.ts';
import { type Figure, figuresTable } from './table.ts';
import { askPytorch } from './yardstick.ts';

// node --import tsx bench/gpu/run.ts
// What a GPU does with the published geometry, in one command: a JSON line a figure, and a table of them beside the design's
// targets and (with --python) PyTorch on the same card.

const flags = new Command('gpu')
  .addOption(
    new Option('--device <name>', 'where to compute')
      .choices(['webgpu', 'tensorflow', 'cuda', 'wasm'])
      .default('webgpu'),
  )
  .option('--geometry <name>', 'as in make-checkpoint', 'published')
  .option(
    '--model <folder>',
    'a checkpoint that is there; without it one of random weights is made, and removed',
  )
  .option('--residence <name>', 'float32, bfloat16, streamed or auto', 'bfloat16')
  .option('--batch <n>', 'documents in a batch', Number, 32)
  .option('--sides <list>', 'pixels of the side of a picture', '1024,224')
  .option('--seconds <n>', 'measured time of a case, about', Number, 15)
  .option('--python <path>', 'a Python with torch: times the same cases with it (bfloat16 on CUDA)')
  .parse()
  .opts<{
    device: 'webgpu' | 'tensorflow' | 'cuda' | 'wasm';
    geometry: string;
    model?: string;
    residence: 'float32' | 'bfloat16' | 'streamed' | 'auto';
    batch: number;
    sides: string;
    seconds: number;
    python?: string;
  }>();

const folder = flags.model ? null : await mkdtemp(join(tmpdir(), 'gpu-bench-'));
try {
  await bench(flags.model ?? (await madeIn(folder as string)));
} finally {
  if (folder) await rm(folder, { recursive: true, force: true });
}

async function madeIn(parent: string): Promise<string> {
  const out = join(parent, 'model');
  const { geometry } = flags;
  const { bytes, seconds } = await makeCheckpoint({ out, geometry, dtype: 'BF16', tokenizer: 'byte-level' });
  console.error(`made ${(bytes / 1e9).toFixed(2)} GB of random weights in ${seconds.toFixed(0)} s`);
  return out;
}

async function bench(model: string): Promise<void> {
  const { figures, cases, config, about } = await ours(model);
  // Afterwards, not in turns: a small card does not hold both models.
  const pytorch = flags.python
    ? askPytorch(
        flags.python,
        { config, rank: await rankIn(model) },
        cases.map(({ asked }) => asked),
        flags.seconds,
      )
    : null;
  for (const line of pytorch?.found ?? [])
    printLine({ bench: 'gpu', ...line }, { backend: 'PyTorch', engine: pytorch?.engine ?? '' });
  const lines = pytorch ? [...about, pytorch.engine] : about;
  console.log(`\n${lines.join('\n')}\n\n${figuresTable(figures, pytorch?.found ?? null)}`);
}

async function ours(model: string) {
  const began = performance.now();
  using jina = await JinaEmbeddings.load(model, {
    device: flags.device,
    residence: flags.residence,
    batchSize: flags.batch,
  });
  const loaded = performance.now();
  const { backend, reason, residence } = jina.device;
  const figures: Figure[] = [];
  const tell = (figure: Figure) => {
    figures.push(figure);
    printLine({ bench: 'gpu', geometry: flags.geometry, residence, ...figure }, { backend, engine: reason });
  };
  tell({ case: 'loading', value: (loaded - began) / 1000, unit: 's' });

  const peaks = await measurePeaks();
  tell({ case: 'copy bandwidth', value: peaks.gbPerSecond, unit: 'GB/s' });
  const how = `${peaks.side}³ float32, ${peaks.by}`;
  tell({ case: 'matmul ceiling', how, value: peaks.gflops, unit: 'GFLOP/s' });

  const tokens = flags.batch * DOCUMENT;
  const texts = textCases(jina, flags.batch);
  const sides = flags.sides.split(',').map(Number);
  const cases: readonly Case[] = [...texts, ...sides.flatMap((side) => imageCases(jina, side, tokens))];
  for (const one of cases) tell(await timeCase(one, flags.seconds));

  for (const figure of shareOfPass(await profileRun(texts[0].run), peaks.gflops)) tell(figure);
  if (backend === 'webgpu')
    for (const rows of [1, QUERY, DOCUMENT, tokens])
      for (const figure of await shareByVariant(jina, rows, peaks.gflops)) tell(figure);
  const about = [reason, `${flags.geometry}, ${residence} weights`];
  return { figures, cases, config: jina.model.config, about };
}

async function rankIn(model: string): Promise<number> {
  const config = JSON.parse(await readFile(join(model, 'adapters/adapter_config.json'), 'utf8')) as {
    r: number;
  };
  return config.r;
}
