import { readFileSync } from 'node:fs';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, test } from 'vitest';
import { JinaEmbeddings } from '../src/platform/node.ts';
import { openFolder } from '../src/platform/node-files.ts';
import { openCheckpoint } from '../weights/checkpoint.ts';
import { memorySource, memoryTree } from '../weights/memory-source.ts';
import { quantRowBytes } from '../weights/quantization.ts';
import { readFloat32, readHeader, readRows, readTensor, type TensorEntry } from '../weights/safetensors.ts';
import { encodeSafetensors } from '../weights/safetensors-writer.ts';
import { isSlow, onEveryBackend } from './support/backends.ts';
import { GOLDEN, goldenIndex } from './support/golden.ts';
import { quantized, sha256 } from './support/quantized.ts';

type Files = Record<string, Uint8Array>;
const made: Record<string, Files> = {};
beforeAll(async () => {
  made.float16 = (await quantized({ precision: 'float16' })).files;
  made.int8 = (await quantized({ precision: 'int8' })).files;
  made.int4 = (await quantized({ precision: 'int4' })).files;
  made['int4 everywhere'] = (await quantized({ precision: 'int4', everywhere: true })).files;
});

const cosine = (a: Float32Array, b: Float32Array): number => {
  const dot = (x: Float32Array, y: Float32Array) => x.reduce((sum, v, i) => sum + v * y[i], 0);
  return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
};
const bitsOf = (vectors: readonly Float32Array[]): string =>
  vectors.map((v) => Buffer.from(v.buffer, v.byteOffset, v.byteLength).toString('base64')).join();

/** Cosines to float32, measured on the golden checkpoint: the least of all inputs and tasks, and the least mean of a task. */
const CLOSE = {
  float16: { least: 0.999999, mean: 0.999999 },
  int8: { least: 0.999, mean: 0.9995 },
  int4: { least: 0.99, mean: 0.995 },
  'int4 everywhere': { least: 0.9, mean: 0.97 },
} as const;
const PRECISIONS = Object.keys(CLOSE) as (keyof typeof CLOSE)[];

onEveryBackend((backend) => {
  const images = isSlow(backend) ? ['small', 'odd'] : goldenIndex.images;
  const inputs = [...goldenIndex.texts, ...images.map((name) => ({ image: `${GOLDEN}images/${name}.png` }))];
  const tasks = isSlow(backend) ? [null, 'code'] : [null, 'retrieval', 'text-matching', 'code'];
  const embed = async (source: string | Files, residence: 'float32' | 'bfloat16') => {
    const from = typeof source === 'string' ? source : memoryTree('made', source);
    const jina = await JinaEmbeddings.load(from, { device: backend, residence });
    const vectors: Float32Array[][] = [];
    for (const task of tasks) vectors.push(await jina.encode(inputs, { task }));
    jina.dispose();
    return vectors;
  };
  let truth: Float32Array[][];
  beforeAll(async () => {
    truth = await embed(GOLDEN, 'float32');
  });

  test.each(PRECISIONS)('%s embeds as float32 does', async (precision) => {
    const found = await embed(made[precision], 'bfloat16');
    for (const [t, vectors] of found.entries()) {
      const cosines = vectors.map((v, i) => cosine(v, truth[t][i]));
      const mean = cosines.reduce((a, b) => a + b) / cosines.length;
      expect(Math.min(...cosines)).toBeGreaterThanOrEqual(CLOSE[precision].least);
      expect(mean).toBeGreaterThanOrEqual(CLOSE[precision].mean);
    }
    if (precision !== 'float16') return;
    found.flat().forEach((v, i) => {
      const expected = truth.flat()[i];
      for (let j = 0; j < v.length; j++) expect(Math.abs(v[j] - expected[j])).toBeLessThanOrEqual(2e-3);
    });
  });

  test.each(PRECISIONS)('%s: packed, streamed and widened weights give the same bits', async (precision) => {
    const before = tf.memory().numTensors;
    const bits: string[] = [];
    for (const residence of ['float32', 'bfloat16', 'streamed'] as const) {
      const jina = await JinaEmbeddings.load(memoryTree('made', made[precision]), {
        device: backend,
        residence,
        checkFinite: true,
      });
      const loaded = tf.memory().numTensors;
      const { layers } = jina.model.params.model;
      if (residence === 'bfloat16') {
        const { mlp } = await layers.take(0);
        expect(mlp.gateProj.weight.storage).toBe('packed');
        const { inSize, outSize, bytes } = mlp.gateProj.weight;
        const format = precision.startsWith('int4') ? 'int4' : 'int8';
        const row = quantRowBytes(format, inSize);
        expect(bytes).toBe(
          precision === 'float16' ? 2 * inSize * outSize : outSize * (row.codes + row.scales),
        );
      }
      const vectors = await jina.encode(['a red car', '', { image: `${GOLDEN}images/small.png` }]);
      const rows = await jina.encodeText('a red car', { returnMultivector: true });
      bits.push(bitsOf([...vectors, ...rows]));
      expect(tf.memory().numTensors).toBe(loaded);
      jina.dispose();
    }
    expect(bits).toEqual([bits[0], bits[0], bits[0]]);
    expect(tf.memory().numTensors).toBe(before);
  });
});

/** The files with one bit of a tensor's bytes turned; `which` is a name in the file. */
async function damaged(files: Files, which: string): Promise<Files> {
  const bytes = files['model.safetensors'].slice();
  const { tensors } = await readHeader(memorySource('model.safetensors', bytes));
  const { begin, byteLength } = tensors.get(which) as TensorEntry;
  bytes[begin + Math.floor(byteLength / 2)] ^= 0x10;
  return { ...files, 'model.safetensors': bytes };
}

const load = (files: Files, residence: 'float32' | 'bfloat16' | 'streamed' = 'bfloat16') =>
  JinaEmbeddings.load(memoryTree('made', files), { device: 'cpu', residence });

describe('damage', () => {
  const names = [
    'model.layers.1.mlp.up_proj.weight',
    'model.layers.1.mlp.up_proj.weight_scale',
    'visual.blocks.0.attn.qkv.weight',
    'visual.blocks.0.attn.qkv.bias',
    'model.embed_tokens.weight',
    'model.norm.weight',
  ];

  test.each(names)('one bit of %s is found at load, with file and tensor', async (name) => {
    const files = await damaged(made.int4, name);
    for (const residence of ['float32', 'bfloat16'] as const) {
      await expect(load(files, residence)).rejects.toThrow(
        new RegExp(
          `^made/model.safetensors: tensor "${name}": its bytes have the checksum [0-9a-f]{8}, expected [0-9a-f]{8}; the file is damaged`,
        ),
      );
    }
  });

  test('streamed: at load in what stays in memory and in the table, at the first read in blocks', async () => {
    for (const name of ['model.embed_tokens.weight', 'model.norm.weight']) {
      await expect(load(await damaged(made.int4, name), 'streamed')).rejects.toThrow(`tensor "${name}"`);
    }
    const before = tf.memory().numTensors;
    const jina = await load(await damaged(made.int4, names[1]), 'streamed');
    await expect(jina.encodeText('hello')).rejects.toThrow(`tensor "${names[1]}": its bytes`);
    await expect(jina.encodeText('hello')).rejects.toThrow(`tensor "${names[1]}": its bytes`);
    jina.dispose();
    expect(tf.memory().numTensors).toBe(before);
  });
});

describe('headers that contradict themselves', () => {
  /** The files with other metadata; what `change` sets to undefined goes. */
  async function changed(change: (m: Record<string, string>) => Record<string, string | undefined>) {
    const source = memorySource('model.safetensors', made.int4['model.safetensors']);
    const { metadata, tensors } = await readHeader(source);
    const data = [];
    for (const entry of tensors.values()) {
      data.push({ name: entry.name, dtype: entry.dtype, shape: entry.shape, data: await readTensor(entry) });
    }
    const kept = Object.entries({ ...metadata, ...change({ ...metadata }) }).filter(
      (pair): pair is [string, string] => pair[1] !== undefined,
    );
    return { ...made.int4, 'model.safetensors': encodeSafetensors(data, Object.fromEntries(kept)) };
  }
  const gate = 'model.layers.0.mlp.gate_proj.weight';
  const without = (json: string, key: string) => JSON.stringify({ ...JSON.parse(json), [key]: undefined });

  test.each([
    [
      'a later version',
      () => ({ format: 'jina-embeddings/2' }),
      'has the layout jina-embeddings/2, this version reads jina-embeddings/1',
    ],
    [
      'no recipe',
      () => ({ quantization: undefined }),
      '__metadata__ quantization has no precision, tool and source',
    ],
    [
      'a checksum that is missing',
      (m) => ({ crc32: without(m.crc32, gate) }),
      `tensor "${gate}" has no checksum`,
    ],
    [
      'a shape that is missing',
      (m) => ({ shapes: without(m.shapes, gate) }),
      `tensor "${gate}": codes U8 [96, 2, 16] and scales F16 [96, 2] do not make a matrix [96,2,16]`,
    ],
    [
      'a shape of another matrix',
      (m) => ({ shapes: m.shapes.replace(`"${gate}":[96,64]`, `"${gate}":[96,128]`) }),
      `tensor "${gate}": codes`,
    ],
    [
      'a shape that fits the codes alone',
      (m) => ({ shapes: m.shapes.replace(`"${gate}":[96,64]`, `"${gate}":[96,63]`) }),
      `wrong shape ${gate}: expected [96, 64], found [96, 63]`,
    ],
    [
      'no format: integers of an unknown kind',
      () => ({ format: 'pt' }),
      'wrong dtype model.layers.0.mlp.down_proj.weight: expected F32, F16, BF16 or F64, found I8',
    ],
  ] as [string, (m: Record<string, string>) => Record<string, string | undefined>, string][])(
    '%s',
    async (_, change, message) => {
      await expect(load(await changed(change))).rejects.toThrow(message);
    },
  );

  test('shards of different quantisations', async () => {
    const [a, b] = await Promise.all(
      ['one', 'other'].map((tool) => quantized({ precision: 'int8', tool, shardSize: 200_000 })),
    );
    expect(a.made.files.filter((f) => f.startsWith('model-'))).toHaveLength(2);
    const mixed = {
      ...a.files,
      'model-00002-of-00002.safetensors': b.files['model-00002-of-00002.safetensors'],
    };
    await expect(load(mixed)).rejects.toThrow('its files are of different quantisations');
  });
});

describe('quantizeCheckpoint', () => {
  test('says what was made of what; keeps what is not quantised bit for bit; copies the rest', async () => {
    const progress: number[] = [];
    const { files, made: said } = await quantized({
      precision: 'int8',
      onProgress: (done, total) => progress.push(done / total),
    });
    expect(progress.at(-1)).toBe(1);
    const shard = (n: number) => readFileSync(`${GOLDEN}model-0000${n}-of-00002.safetensors`);
    expect(said.recipe).toEqual({
      precision: 'int8',
      group: null,
      tool: 'test',
      source: [1, 2].map((n) => {
        const hash = sha256();
        hash.update(shard(n));
        return { file: `model-0000${n}-of-00002.safetensors`, bytes: shard(n).length, sha256: hash.hex() };
      }),
    });
    const checkpoint = await openCheckpoint(memoryTree('made', files));
    expect(checkpoint.recipe).toEqual(said.recipe);
    const tree = await openFolder(GOLDEN);
    const source = await openCheckpoint(tree);
    expect([...checkpoint.entries.keys()].sort()).toEqual([...source.entries.keys()].sort());
    const kept: string[] = [];
    for (const [name, entry] of checkpoint.entries) {
      const from = source.entries.get(name) as TensorEntry;
      expect(entry.shape).toEqual(from.shape);
      if (entry.quantized) continue;
      expect(Buffer.from(await readTensor(entry)).equals(await readTensor(from))).toBe(true);
      if (from.shape.length > 1) kept.push(name);
    }
    expect(kept.sort()).toEqual([
      'model.embed_tokens.weight',
      'multi_vector_projector.weight',
      'visual.patch_embed.proj.weight',
    ]);
    await tree.close();
    for (const path of ['config.json', 'tokenizer.json', 'adapters/adapter_model.safetensors']) {
      expect(Buffer.from(files[path]).equals(readFileSync(GOLDEN + path))).toBe(true);
    }
    expect(Object.keys(files).sort()).toEqual(said.files);
    expect(files['golden.safetensors']).toBeUndefined();
  });

  test('the same source gives the same bytes; shards hold the same tensors', async () => {
    const again = await quantized({ precision: 'int4' });
    expect(again.files).toEqual(made.int4);
    const shards = await quantized({ precision: 'int4', shardSize: 50_000 });
    expect(shards.made.files.filter((f) => f.startsWith('model-')).length).toBeGreaterThan(4);
    const tensors = async (files: Files) => {
      const { entries } = await openCheckpoint(memoryTree('made', files));
      return Promise.all([...entries].map(async ([name, e]) => [name, [...(await readFloat32(e))]] as const));
    };
    expect(new Map(await tensors(shards.files))).toEqual(new Map(await tensors(made.int4)));
  });

  test('rows of a quantised tensor are read alone', async () => {
    const { entries } = await openCheckpoint(memoryTree('made', made.int4));
    const entry = entries.get('model.layers.0.mlp.gate_proj.weight') as TensorEntry;
    const whole = await readFloat32(entry, { chunkBytes: 100 });
    expect(await readRows(entry, 5, 9)).toEqual(whole.subarray(5 * 64, 9 * 64));
  });

  test('a quantised source is refused, and so are weights that no number format can hold', async () => {
    await expect(quantized({ precision: 'int8' }, memoryTree('made', made.int4))).rejects.toThrow(
      'made: is int4 already, quantised by test; a second rounding would add to the first',
    );
    const cases = [
      [Number.NaN, 'int8', /value 33 is NaN, which is not a finite number/],
      [1e6, 'float16', /value 33 is 1000000, which is beyond 65519, the largest that float16 holds/],
      [1e6, 'int4', /value 33 is 1000000, which is beyond 524032, the largest that int4 holds/],
    ] as const;
    for (const [value, precision, message] of cases) {
      await expect(quantized({ precision }, await goldenWith(value))).rejects.toThrow(message);
    }
  });

  test('of a float32 source the table becomes bfloat16, and what is small stays', async () => {
    const { files } = await quantized({ precision: 'int8' }, await goldenWith(0.5));
    const { entries } = await openCheckpoint(memoryTree('made', files));
    expect(entries.get('model.embed_tokens.weight')?.dtype).toBe('BF16');
    expect(entries.get('model.norm.weight')?.dtype).toBe('F32');
    using jina = await load(files);
    expect((await jina.encodeText('hello')).every(Number.isFinite)).toBe(true);
  });

  test('an abort stops it', async () => {
    const abort = new AbortController();
    await expect(
      quantized({ precision: 'int8', signal: abort.signal, onProgress: () => abort.abort() }),
    ).rejects.toThrow(/abort/i);
  });
});

/** The golden checkpoint in float32, with this value in the second row of a gate projection. */
async function goldenWith(value: number) {
  const tree = await openFolder(GOLDEN);
  const { entries } = await openCheckpoint(tree);
  const data = [];
  for (const entry of entries.values()) {
    const values = await readFloat32(entry);
    if (entry.name === 'model.layers.0.mlp.gate_proj.weight') values[33] = value;
    data.push({ name: entry.name, dtype: 'F32' as const, shape: entry.shape, data: values });
  }
  await tree.close();
  const small = ['config.json', 'tokenizer.json', 'tokenizer_config.json', 'preprocessor_config.json'];
  return memoryTree('golden', {
    ...Object.fromEntries(small.map((path) => [path, readFileSync(GOLDEN + path)])),
    'model.safetensors': encodeSafetensors(data),
  });
}

test('an adapter merges into quantised weights that were widened, and is refused by packed ones', async () => {
  using packed = await load(made.int8);
  await expect(packed.model.mergeAdapter('code')).rejects.toThrow(
    '16-bit or quantised ones would round it away',
  );
  using wide = await load(made.int8, 'float32');
  const before = await wide.encodeText('hello', { task: 'code' });
  const notices: string[] = [];
  await wide.model.mergeAdapter('code', { onNotice: (text) => notices.push(text) });
  expect(notices).toEqual([
    expect.stringContaining('adapter "code" is merged into weights that had been quantised to int8'),
  ]);
  expect(cosine(await wide.encodeText('hello', { task: 'code' }), before)).toBeGreaterThan(0.99999);
});
