import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { defaultModelPath, JinaEmbeddings } from '../src/platform/node.ts';
import { openFolder } from '../src/platform/node-files.ts';
import { memoryTree } from '../weights/memory-source.ts';
import { quantized } from './support/quantized.ts';

// A sample: over 1,016 names and pictures the least cosine of int4 was 0.988, the mean 0.998 (int8: 0.9997, 0.99995).
const DEMO = join(import.meta.dirname, '../weights/demo');
const PICTURES = ['apple', 'boat', 'car', 'chart', 'fish', 'house', 'sun', 'tree'];

const cosine = (a: Float32Array, b: Float32Array) =>
  a.reduce((sum, x, i) => sum + x * b[i], 0) / (Math.hypot(...a) * Math.hypot(...b));

test.each([
  ['int8', 0.999],
  ['int4', 0.99],
] as const)('the default model in %s: every cosine to float32 is at least %d', async (precision, least) => {
  const { files } = await quantized({ precision }, await openFolder(defaultModelPath()));
  const emoji = JSON.parse(await readFile(join(DEMO, 'emoji.json'), 'utf8')) as [string, string][];
  const inputs = [
    ...emoji.filter((_, i) => i % 16 === 0).map(([, name]) => name),
    'une voiture rouge',
    'ein grüner Apfel',
    '红苹果',
    'красная машина',
    'लाल सेब',
    'سيارة حمراء',
    ...PICTURES.map((name) => ({ image: join(DEMO, `${name}.png`) })),
  ];
  const embed = async (source: Parameters<typeof JinaEmbeddings.load>[0], task: string | null) => {
    using jina = await JinaEmbeddings.load(source, { device: 'wasm' });
    return await jina.encode(inputs, { task }); // disposed only then
  };
  for (const task of [null, 'retrieval', 'classification', 'clustering']) {
    const truth = await embed(null, task);
    const found = await embed(memoryTree('made', files), task);
    const cosines = found.map((v, i) => cosine(v, truth[i]));
    expect(Math.min(...cosines), `${task}`).toBeGreaterThanOrEqual(least);
  }
});
