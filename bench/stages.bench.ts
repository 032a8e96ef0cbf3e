import type * as tf from '@tensorflow/tfjs-core';
import { Command } from 'commander';
import { cumulate } from '../kernels/index.ts';
import type { BackendName } from '../src/device-engine.ts';
import { singleVectors } from '../src/heads/heads.ts';
import { JinaEmbeddings } from '../src/platform/node.ts';
import { imageIds, textIds } from '../src/text/prompts.ts';
import { busyCores, checkClose, median, printLine } from './measure.ts';
import { picture, prose } from './sample-inputs.ts';

// node --import tsx bench/stages.bench.ts --device wasm --model FOLDER
// Where the time of a pass goes, stage by stage, through the model's own hook.

const flags = new Command('stages.bench')
  .option('--device <name>', 'tensorflow, wasm or cpu (a GPU computes later than it is told)', 'wasm')
  .option('--model <folder>', 'a checkpoint; without it the embedded one')
  .option('--residence <name>', 'float32, bfloat16, streamed or auto', 'auto')
  .option('--texts <n>', 'texts that run together', Number, 8)
  .option('--tokens <n>', 'tokens of a text', Number, 64)
  .option('--size <pixels>', 'width and height of the picture', '896x644')
  .option('--runs <n>', 'timed passes', Number, 5)
  .parse()
  .opts<{
    device: BackendName;
    model?: string;
    residence: 'auto' | 'float32' | 'bfloat16' | 'streamed';
    texts: number;
    tokens: number;
    size: string;
    runs: number;
  }>();

/** Milliseconds of the stages of one pass, in order. */
type Laps = Map<string, number[]>;

/** Notes the time since the last note. `decoder.layers.7` counts as `decoder.layers`. */
function stopwatch(laps: Laps): (stage: string) => void {
  let last = performance.now();
  return (stage) => {
    const kind = stage.replace(/\.\d+$/, '');
    const now = performance.now();
    laps.set(kind, [...(laps.get(kind) ?? []), now - last]);
    last = performance.now();
  };
}

using jina = await JinaEmbeddings.load(flags.model ?? null, {
  device: flags.device,
  residence: flags.residence,
});
const { model, tokenizer, images } = jina;
const [task] = [...model.adapters.keys(), null];
const where = { backend: jina.device.backend, engine: `${jina.device.reason}` };

const texts = Array.from({ length: flags.texts }, (_, i) => prose(flags.tokens * 8, i));
const limits = { promptName: 'query', maxLength: flags.tokens } as const;
await benchStages(
  `${flags.texts} texts × ${flags.tokens} tokens`,
  async (lap) => {
    const sequences = texts.map((text) => ({ ids: textIds(tokenizer, text, limits) }));
    lap('tokenize');
    const hidden = await model.forward(sequences, { adapter: task, observe: lap });
    const ends = cumulate(sequences.map(({ ids }) => ids.length));
    return finish(
      hidden,
      sequences.map((_, i) => ({ begin: ends[i], end: ends[i + 1] })),
      lap,
    );
  },
  () => jina.encodeText(texts, { task, maxLength: flags.tokens, batchSize: flags.texts }),
);

const [width, height] = flags.size.split('x').map(Number);
const image = picture(width, height);
await benchStages(
  `image ${width}×${height}`,
  async (lap) => {
    const { pixelValues, grid, tokens } = await images.process(image);
    lap('resize, patchify');
    const grids = [grid];
    const seen = await model.see({ pixelValues, grids }, { observe: lap });
    const ids = imageIds(tokenizer, tokens);
    const hidden = await model.forward([{ ids, grids }], { seen, adapter: task, observe: lap });
    seen.dispose();
    const begin = ids.indexOf(tokenizer.specialId('<|vision_start|>'));
    return finish(hidden, [{ begin, end: begin + tokens + 2 }], lap);
  },
  async () => [await jina.encodeImage(image, { task })],
);

async function finish(
  hidden: tf.Tensor2D,
  spans: readonly { begin: number; end: number }[],
  lap: (stage: string) => void,
): Promise<ArrayLike<number>> {
  const vectors = singleVectors(hidden, spans, { size: model.config.decoder.hiddenSize, normalize: true });
  hidden.dispose();
  const values = await vectors.data();
  vectors.dispose();
  lap('pool, normalize, read');
  return values;
}

/** Verifies the staged pass against the public API, then prints a line a stage. */
async function benchStages(
  what: string,
  pass: (lap: (stage: string) => void) => Promise<ArrayLike<number>>,
  api: () => Promise<readonly ArrayLike<number>[]>,
): Promise<void> {
  const expected = (await api()).flatMap((vector) => Array.from(vector));
  const error = checkClose(what, await pass(() => {}), expected, 1e-5);
  const busy = await busyCores();
  const passes: Laps[] = [];
  const totals: number[] = [];
  for (let run = 0; run < flags.runs; run++) {
    const laps: Laps = new Map();
    const began = performance.now();
    await pass(stopwatch(laps));
    totals.push(performance.now() - began);
    passes.push(laps);
  }
  const total = median(totals);
  for (const stage of passes[0].keys()) {
    const each = passes.map((laps) => laps.get(stage) ?? []);
    const ms = median(each.map((times) => times.reduce((a, b) => a + b, 0)));
    const count = each[0].length;
    printLine(
      { bench: 'stages', case: what, stage, count, ms, msEach: ms / count, share: ms / total },
      where,
    );
  }
  printLine({ bench: 'stages', case: what, stage: 'all', ms: total, error, busyCores: busy }, where);
}
