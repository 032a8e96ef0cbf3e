import { Command } from 'commander';
import type { BackendName } from '../src/device-engine.ts';
import { JinaEmbeddings } from '../src/platform/node.ts';
import { busyCores, checkClose, inTurns, printLine } from './measure.ts';
import { picture, prose } from './sample-inputs.ts';

// node --import tsx bench/encode.bench.ts --device wasm --model FOLDER
// Texts and images a second through the public API, beside one call an input; and the time to the first embedding.

const flags = new Command('encode.bench')
  .option('--device <name>', 'tensorflow, webgpu, wasm, cpu or auto', 'auto')
  .option('--model <folder>', 'a checkpoint; without it the embedded one')
  .option('--residence <name>', 'float32, bfloat16, streamed or auto', 'auto')
  .option('--texts <n>', 'texts in a call', Number, 32)
  .option('--words <n>', 'words of a text', Number, 12)
  .option('--images <n>', 'images in a call; 0 for none', Number, 4)
  .option('--size <pixels>', 'width and height of an image', '448x448')
  .option('--batch-size <n>', "inputs that run together; default the device's policy", Number)
  .option('--runs <n>', 'timed calls', Number, 5)
  .parse()
  .opts<{
    device: BackendName | 'auto';
    model?: string;
    residence: 'auto' | 'float32' | 'bfloat16' | 'streamed';
    texts: number;
    words: number;
    images: number;
    size: string;
    batchSize?: number;
    runs: number;
  }>();

const began = performance.now();
using jina = await JinaEmbeddings.load(flags.model ?? null, {
  device: flags.device,
  residence: flags.residence,
  batchSize: flags.batchSize,
});
const loaded = performance.now();
await jina.encodeText('the first one');
const first = performance.now();
const where = { backend: jina.device.backend, engine: jina.device.reason };
printLine(
  {
    bench: 'encode',
    case: 'to the first embedding',
    ms: first - began,
    loadMs: loaded - began,
    sinceProcessStartMs: first, // with Node's own start and the import of the modules
    peakRssGb: peakRss(),
  },
  where,
);

const texts = Array.from({ length: flags.texts }, (_, i) => prose(flags.words, i));
await bench(`${texts.length} texts of ${flags.words} words`, texts, (some) => jina.encodeText([...some]));
const [width, height] = flags.size.split('x').map(Number);
const images = Array.from({ length: flags.images }, () => picture(width, height));
if (images.length > 0) {
  await bench(`${images.length} images of ${flags.size}`, images, (some) => jina.encodeImage([...some]));
}

async function bench<T>(
  what: string,
  inputs: readonly T[],
  encode: (some: readonly T[]) => Promise<readonly ArrayLike<number>[]>,
): Promise<void> {
  const oneByOne = async () => {
    const vectors: ArrayLike<number>[] = [];
    for (const input of inputs) vectors.push(...(await encode([input])));
    return vectors;
  };
  const flat = (vectors: readonly ArrayLike<number>[]) => vectors.flatMap((v) => Array.from(v));
  const together = await encode(inputs);
  const error = checkClose(what, flat(together), flat(await oneByOne()), 1e-5);
  for (const vector of together) {
    checkClose(`${what}: length`, [Math.hypot(...Array.from(vector))], [1], 1e-5);
  }
  const busy = await busyCores();
  const times = await inTurns({ together: () => encode(inputs), oneByOne }, { warmUp: 1, runs: flags.runs });
  const line = {
    bench: 'encode',
    case: what,
    ...times.together,
    perSecond: (inputs.length / times.together.ms) * 1000,
    yardstick: 'one call an input',
    yardstickMs: times.oneByOne.ms,
    ratio: times.oneByOne.ms / times.together.ms, // above 1: batches pay
    batchSize: flags.batchSize ?? jina.device.batchSize,
    error,
    peakRssGb: peakRss(),
    busyCores: busy,
  };
  printLine(line, where);
}

/** Largest resident set of this process so far. */
function peakRss(): number {
  return (process.resourceUsage().maxRSS * 1024) / 1e9;
}
