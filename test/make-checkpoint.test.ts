import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { GEOMETRIES } from '../bench/make-checkpoint/geometries.ts';
import { planCheckpoint } from '../bench/make-checkpoint/plan-checkpoint.ts';
import { valueStream } from '../bench/make-checkpoint/random-values.ts';
import { totalBytes } from '../bench/make-checkpoint/tensor-plan.ts';
import { type MakeCheckpointOptions, makeCheckpoint } from '../bench/make-checkpoint/write-checkpoint.ts';
import { InputError } from '../src/errors.ts';
import { parseModelConfig } from '../src/model-config.ts';
import { checkpointTensors, modelSpec } from '../src/params.ts';
import { JinaEmbeddings, openFolder } from '../src/platform/node.ts';
import { openCheckpoint } from '../weights/checkpoint.ts';
import { checkFit } from '../weights/fit.ts';
import { readFloat32, readTensor } from '../weights/safetensors.ts';
import { GOLDEN } from './support/golden.ts';

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'make-checkpoint-'));
});
afterAll(() => rm(root, { recursive: true }));

let made = 0;
async function make(options: Partial<MakeCheckpointOptions> = {}): Promise<string> {
  const out = join(root, `checkpoint-${made++}`);
  await makeCheckpoint({ geometry: 'tiny', ...options, out });
  return out;
}

/** Every tensor's bytes by name, with its file. */
async function tensorsOf(folder: string): Promise<Map<string, string>> {
  const tree = await openFolder(folder);
  const checkpoint = await openCheckpoint(tree);
  const bytes = new Map<string, string>();
  for (const [name, entry] of checkpoint.entries) {
    bytes.set(name, Buffer.from(await readTensor(entry)).toString('base64'));
  }
  await checkpoint.close();
  await tree.close();
  return bytes;
}

test('the published geometry is planned as published: shards, names, counts, bytes', async () => {
  const { tensorFiles, textFiles } = await planCheckpoint({});
  expect(tensorFiles.map((f) => [f.path, f.tensors.length])).toEqual([
    ['model-00001-of-00002.safetensors', expect.any(Number)],
    ['model-00002-of-00002.safetensors', expect.any(Number)],
    ['adapters/adapter_model.safetensors', 1518],
  ]);
  const [first, second, adapters] = tensorFiles;
  expect(first.tensors.length + second.tensors.length).toBe(826);
  expect(totalBytes([first, second])).toBe(7_509_770_496);
  expect(totalBytes([adapters])).toBe(2 * 179_810_304);
  // The publisher's split: embeddings, tower and layers up to a part of 19 in the first file.
  const has = (file: typeof first, name: string) => file.tensors.some((t) => t.name.startsWith(name));
  expect([has(first, 'model.layers.19.'), has(second, 'model.layers.19.')]).toEqual([true, true]);
  expect(has(second, 'visual.')).toBe(false);
  expect(adapters.tensors[0].name).toBe(
    'base_model.model.model.language_model.layers.0.mlp.down_proj.lora_A.code.weight',
  );
  expect(textFiles.map((f) => f.path)).toContain('model.safetensors.index.json');
});

test.each(Object.keys(GEOMETRIES))('%s: the config written is one that the model reads', async (geometry) => {
  const { textFiles, tensorFiles } = await planCheckpoint({ geometry, layers: 2, visionDepth: 2 });
  const config = parseModelConfig(JSON.parse(textFiles[0].text));
  expect([config.decoder.numHiddenLayers, config.vision.depth]).toEqual([2, 2]);
  const planned = tensorFiles.slice(0, -1).flatMap((f) => f.tensors.map((t) => t.name));
  expect(planned.sort()).toEqual(
    checkpointTensors(modelSpec(config))
      .map((t) => t.name)
      .sort(),
  );
});

test('a written checkpoint fits its own config, and its values are those of a normal distribution', async () => {
  const folder = await make();
  const config = parseModelConfig(JSON.parse(await readFile(join(folder, 'config.json'), 'utf8')));
  const tree = await openFolder(folder);
  const checkpoint = await openCheckpoint(tree);
  checkFit(checkpointTensors(modelSpec(config)), checkpoint.entries);
  const entry = checkpoint.entries.get('model.layers.1.mlp.gate_proj.weight');
  const values = await readFloat32(entry as NonNullable<typeof entry>);
  const rms = Math.sqrt(values.reduce((sum, v) => sum + v * v, 0) / values.length);
  expect(rms).toBeCloseTo(1 / Math.sqrt(64), 2);
  await checkpoint.close();
  await tree.close();
});

test('values: mean, deviation and tails; the same from any chunk size and, rounded, in any dtype', () => {
  const normal = { mean: 0, std: 1 };
  const draw = (dtype: 'F32' | 'BF16', words: number[]) => {
    const stream = valueStream(7, 'name', normal, dtype);
    return words.flatMap((n) => {
      const chunk = new Uint32Array(n);
      stream(chunk);
      return [...chunk];
    });
  };
  const f32 = draw('F32', [1 << 16]);
  const values = new Float32Array(new Uint32Array(f32).buffer);
  const mean = values.reduce((a, b) => a + b) / values.length;
  const std = Math.sqrt(values.reduce((a, b) => a + (b - mean) ** 2, 0) / values.length);
  const beyond = (x: number) => values.filter((v) => Math.abs(v) > x).length / values.length;
  expect(Math.abs(mean)).toBeLessThan(0.02);
  expect(std).toBeCloseTo(1, 2);
  expect(beyond(1.959964)).toBeCloseTo(0.05, 2);
  expect(beyond(3)).toBeCloseTo(0.0027, 3);
  expect(draw('F32', [100, 2, 26])).toEqual(f32.slice(0, 128));
  const halves = new Uint16Array(new Uint32Array(draw('BF16', [64])).buffer);
  halves.forEach((bits, i) => {
    const [value] = new Float32Array(new Uint32Array([bits << 16]).buffer);
    expect(Math.abs(value - values[i])).toBeLessThanOrEqual(Math.abs(values[i]) / 256);
  });
});

test('the same seed gives the same bytes, another seed others; shard size changes no tensor', async () => {
  const [one, same, other, sharded] = await Promise.all([
    make({ seed: 3 }).then(tensorsOf),
    make({ seed: 3 }).then(tensorsOf),
    make({ seed: 4 }).then(tensorsOf),
    make({ seed: 3, shardSize: 50_000 }).then(async (folder) => {
      const files = await readdir(folder);
      expect(files.filter((f) => f.startsWith('model-')).length).toBeGreaterThan(3);
      return tensorsOf(folder);
    }),
  ]);
  expect(same).toEqual(one);
  expect(sharded).toEqual(one);
  expect([...other.values()].filter((bytes) => [...one.values()].includes(bytes))).toEqual([]);
});

test.each([{}, { shardSize: 50_000, dtype: 'F32' }, { tokenizer: join(GOLDEN, 'tokenizer.json') }] as const)(
  'loads, and gives finite unit vectors that depend on input and adapter: %j',
  async (options) => {
    using jina = await JinaEmbeddings.load(await make(options), { device: 'cpu', checkFinite: true });
    const texts = await jina.encodeText(['a red bicycle', 'naïve 日本語 🚲 <|image_pad|>', '']);
    const image = await jina.encodeImage(join(GOLDEN, 'images/small.png'));
    const [adapted] = await jina.encodeText(['a red bicycle'], { task: 'code' });
    for (const vector of [...texts, image, adapted]) {
      expect(vector.length).toBe(64);
      expect(jina.similarity(vector, vector, 'dot')).toBeCloseTo(1, 5);
    }
    const others = [texts[1], texts[2], image, adapted].map((v) => jina.similarity(texts[0], v));
    expect(Math.max(...others)).toBeLessThan(0.999);
  },
);

test('a folder in the way is refused, unless it holds random weights and force is given', async () => {
  const folder = await make();
  const again = { geometry: 'tiny', out: folder, seed: 9 } as const;
  await expect(makeCheckpoint(again)).rejects.toThrow(/not empty/);
  await makeCheckpoint({ ...again, force: true });
  const config = join(folder, 'config.json');
  await writeFile(
    config,
    (await readFile(config, 'utf8')).replace('"random_weights": true', '"random_weights": false'),
  );
  await expect(makeCheckpoint({ ...again, force: true })).rejects.toThrow(
    /holds no checkpoint of random weights/,
  );
});

test('an aborted or impossible run leaves nothing behind', async () => {
  const before = await readdir(root);
  const out = join(root, 'never');
  const abort = new AbortController();
  const run = makeCheckpoint({
    geometry: 'tiny',
    out,
    signal: abort.signal,
    onProgress: () => abort.abort(),
  });
  await expect(run).rejects.toThrow(/abort/i);
  await expect(makeCheckpoint({ geometry: 'huge', out })).rejects.toThrow(InputError);
  const vast = JSON.parse(await readFile(join(GOLDEN, 'config.json'), 'utf8'));
  vast.text_config.vocab_size = 1e13;
  const geometry = join(root, 'vast.json');
  await writeFile(geometry, JSON.stringify(vast));
  await expect(makeCheckpoint({ geometry, out })).rejects.toThrow(/takes 1280000.* GB, the disk has .* free/);
  await rm(geometry);
  expect(await readdir(root)).toEqual(before);
});
