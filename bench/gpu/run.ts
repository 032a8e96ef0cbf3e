import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command, Option } from 'commander';
import { cellTable } from '../../src/cli/cell-table.ts';
import { JinaEmbeddings } from '../../src/platform/node.ts';
import { measurePeaks } from '../../src/profile/peaks.ts';
import { profileRun } from '../../src/profile/profile-run.ts';
import { makeCheckpoint } from '../make-checkpoint/write-checkpoint.ts';
import { checkClose, median, printLine } from '../measure.ts';
import { picture, prose } from '../sample-inputs.ts';
import { type Product, productsOf, sumOfWays, timeWays, type WayTimes } from '../variant-cases.ts';

// node --import tsx bench/gpu/run.ts
// What a GPU does with the published geometry, in one command: a table, and a JSON line a figure.

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
  .parse()
  .opts<{
    device: 'webgpu' | 'tensorflow' | 'cuda' | 'wasm';
    geometry: string;
    model?: string;
    residence: 'float32' | 'bfloat16' | 'streamed' | 'auto';
    batch: number;
    sides: string;
    seconds: number;
  }>();

const DOCUMENT = 64; // tokens
const VARIANT_RUNS = 9;
const QUERY = 20;
const LEAST_RUNS = 3;
const MOST_RUNS = 50;

type Figure = {
  readonly case: string;
  readonly value: number;
  readonly unit: string;
  readonly runs?: number;
  readonly best?: number;
  readonly error?: number;
};
const figures: Figure[] = [];

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
  const began = performance.now();
  using jina = await JinaEmbeddings.load(model, {
    device: flags.device,
    residence: flags.residence,
    batchSize: flags.batch,
  });
  const loaded = performance.now();
  const where = { backend: jina.device.backend, engine: jina.device.reason };
  const tell = (figure: Figure) => {
    figures.push(figure);
    const run = { bench: 'gpu', geometry: flags.geometry, residence: jina.device.residence };
    printLine({ ...run, ...figure }, where);
  };
  tell({ case: 'loading', value: (loaded - began) / 1000, unit: 's' });

  const peaks = await measurePeaks();
  tell({ case: 'copy bandwidth', value: peaks.gbPerSecond, unit: 'GB/s' });
  tell({ case: `matmul ceiling, ${peaks.side}³ float32, ${peaks.by}`, value: peaks.gflops, unit: 'GFLOP/s' });

  // Every text is longer than it may be, so that all have the same length.
  const texts = Array.from({ length: flags.batch }, (_, i) => prose(DOCUMENT * 8, i));
  const documents = () =>
    jina.encodeText(texts, {
      promptName: 'passage',
      maxLength: DOCUMENT,
      tokenBudget: flags.batch * DOCUMENT,
    });
  const [query] = texts;
  const ask = async () => [await jina.encodeText(query, { maxLength: QUERY })];

  const [first] = await documents();
  const alone = await jina.encodeText(texts[0], { promptName: 'passage', maxLength: DOCUMENT });
  const error = checkClose('a document alone and in a batch', alone, first, 1e-4);
  const text = await timed(documents);
  const what = `texts of ${DOCUMENT} tokens, batch ${flags.batch}`;
  tell({ case: what, value: perSecond(flags.batch, text.ms), unit: 'a second', error, ...text.rest });
  const asked = await timed(ask);
  tell({ case: `a query of ${QUERY} tokens`, value: asked.ms, unit: 'ms', ...asked.rest });

  for (const side of flags.sides.split(',').map(Number)) {
    const image = picture(side, side);
    const see = async () => [await jina.encodeImage(image, { maxPixels: side * side })];
    const seen = await timed(see);
    const name = `an image of ${side} × ${side}`;
    tell({
      case: `${name}, one after the other`,
      value: perSecond(1, seen.ms),
      unit: 'a second',
      ...seen.rest,
    });
    tell({ case: `${name}, alone`, value: seen.ms, unit: 'ms', ...seen.rest });
  }

  const { rows, wallMs, clock } = await profileRun(documents);
  const linear = rows.filter(({ op }) => op.startsWith('Linear '));
  const ms = linear.reduce((sum, row) => sum + row.ms, 0);
  const gflops = linear.reduce((sum, row) => sum + (row.gflops ?? 0) * row.ms, 0) / ms;
  tell({ case: `linear maps of the batch, by ${clock}`, value: gflops, unit: 'GFLOP/s' });
  tell({ case: 'linear maps, of the ceiling', value: (100 * gflops) / peaks.gflops, unit: '%' });
  tell({ case: 'linear maps, of the time of the batch', value: (100 * ms) / wallMs, unit: '%' });

  if (jina.device.backend === 'webgpu') {
    const { hiddenSize, headDim, numKeyValueHeads, intermediateSize } = jina.model.config.decoder;
    const products = productsOf(hiddenSize, headDim * numKeyValueHeads, intermediateSize);
    for (const rows of [1, QUERY, DOCUMENT, flags.batch * DOCUMENT])
      for (const figure of await variantFigures(rows, products, peaks.gflops)) tell(figure);
  }

  const table = cellTable({
    columns: ['case', 'value', 'unit', 'runs'],
    rows: figures.map((f) => [f.case, f.value, f.unit, f.runs ?? null]),
  });
  console.log(`\n${where.engine}\n${flags.geometry}, ${jina.device.residence} weights\n\n${table}`);
}

/** The seven products of a block, in every way that the device has for them: what part of the ceiling each reaches. */
async function variantFigures(
  rows: number,
  products: readonly Product[],
  ceiling: number,
): Promise<readonly Figure[]> {
  const measured: (readonly [Product, readonly WayTimes[]])[] = [];
  for (const product of products) measured.push([product, await timeWays(rows, product, VARIANT_RUNS)]);
  return sumOfWays(rows, measured).flatMap(({ way, gflops, error, chosen }): Figure[] => {
    const taken = chosen.length > 0 ? `, taken in ${chosen.join(' and ')}` : '';
    const name = `products of a block, ${rows} rows, ${way}${taken}`;
    return [
      { case: name, value: gflops, unit: 'GFLOP/s', runs: VARIANT_RUNS, error },
      { case: `${name}, of the ceiling`, value: (100 * gflops) / ceiling, unit: '%' },
    ];
  });
}

function perSecond(inputs: number, ms: number): number {
  return (1000 * inputs) / ms;
}

/** Runs once to compile and to verify, then for about the seconds asked for. */
async function timed(
  run: () => Promise<readonly Float32Array[]>,
): Promise<{ readonly ms: number; readonly rest: { readonly runs: number; readonly best: number } }> {
  for (const vector of await run()) checkClose('the length of a vector', [Math.hypot(...vector)], [1], 1e-4);
  const ms: number[] = [];
  let spent = 0;
  while (ms.length < LEAST_RUNS || (spent < 1000 * flags.seconds && ms.length < MOST_RUNS)) {
    const began = performance.now();
    await run();
    ms.push(performance.now() - began);
    spent += ms[ms.length - 1];
  }
  return { ms: median(ms), rest: { runs: ms.length, best: Math.min(...ms) } };
}
