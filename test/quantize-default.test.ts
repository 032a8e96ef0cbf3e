import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { openPictureIndex } from '../src/cli/picture-index.ts';
import { defaultModelPath, JinaEmbeddings } from '../src/platform/node.ts';
import { openFolder } from '../src/platform/node-files.ts';
import { calibrate } from '../src/quantize/calibrate.ts';
import { calibrationBatches } from '../src/quantize/calibration-batches.ts';
import type { QuantizeOptions } from '../src/quantize/quantize-checkpoint.ts';
import { memoryTree } from '../weights/memory-source.ts';
import { quantized } from './support/quantized.ts';

const DEMO = join(import.meta.dirname, '../weights/demo');
const PICTURES = ['apple', 'boat', 'car', 'chart', 'fish', 'house', 'sun', 'tree'];
const TASKS = [null, 'retrieval', 'classification', 'clustering'];
const EVERY = 8; // of so many emoji one is measured; the others may calibrate

const cosine = (a: Float32Array, b: Float32Array) =>
  a.reduce((sum, x, i) => sum + x * b[i], 0) / (Math.hypot(...a) * Math.hypot(...b));

const emoji = async () => JSON.parse(await readFile(join(DEMO, 'emoji.json'), 'utf8')) as [string, string][];

async function embed(source: Parameters<typeof JinaEmbeddings.load>[0]): Promise<Float32Array[]> {
  const inputs = [
    ...(await emoji()).filter((_, i) => i % EVERY === 0).map(([, name]) => name),
    'une voiture rouge',
    'ein grüner Apfel',
    '红苹果',
    'красная машина',
    'लाल सेब',
    'سيارة حمراء',
    ...PICTURES.map((name) => ({ image: join(DEMO, `${name}.png`) })),
  ];
  using jina = await JinaEmbeddings.load(source, { device: 'wasm' });
  const vectors: Float32Array[] = [];
  for (const task of TASKS) vectors.push(...(await jina.encode(inputs, { task })));
  return vectors;
}

let truth: readonly Float32Array[];
beforeAll(async () => {
  truth = await embed(defaultModelPath());
});

async function cosines(options: Parameters<typeof quantized>[0]): Promise<{ least: number; mean: number }> {
  const { files } = await quantized(options, await openFolder(defaultModelPath()));
  const found = await embed(memoryTree('made', files));
  const all = found.map((v, i) => cosine(v, truth[i]));
  return { least: Math.min(...all), mean: all.reduce((a, b) => a + b) / all.length };
}

test.each([
  ['int8', 0.999],
  ['int4', 0.99],
] as const)('the default model in %s: every cosine to float32 is at least %d', async (precision, least) => {
  expect((await cosines({ precision })).least).toBeGreaterThanOrEqual(least);
});

/** Names and pictures of other emoji than those that are measured. */
async function calibrationOf(jina: JinaEmbeddings): Promise<QuantizeOptions['calibration']> {
  const pictures = await openPictureIndex();
  const others = [...(await emoji()).entries()].filter(([i]) => i % EVERY !== 0);
  const inputs = [
    ...others.filter(([i]) => i % 2 === 1).map(([, [, name]]) => name),
    ...(await Promise.all(others.filter(([i]) => i % 4 === 2).map(([i]) => pictures.png(i)))),
  ].map((input, i) => ({ input, task: TASKS[i % TASKS.length], where: `input ${i}` }));
  return {
    inputs: { inputs: inputs.length, sha256: '' },
    round: (maps) => calibrate(jina.model, calibrationBatches(jina, inputs), { maps }),
  };
}

test('int4 everywhere: at least 0.98, and 0.99 when rounded for other names and pictures', async () => {
  using jina = await JinaEmbeddings.load(defaultModelPath(), { device: 'wasm' });
  const everywhere = { precision: 'int4', everywhere: true } as const;
  const nearest = await cosines(everywhere);
  const calibrated = await cosines({ ...everywhere, calibration: await calibrationOf(jina) });

  expect(nearest.least).toBeGreaterThanOrEqual(0.98);
  expect(calibrated.least).toBeGreaterThanOrEqual(0.99);
  expect(1 - calibrated.mean).toBeLessThan(0.9 * (1 - nearest.mean));
}, 300_000);
