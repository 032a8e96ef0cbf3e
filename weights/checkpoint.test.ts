import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CheckpointError } from '../src/errors.ts';
import { openFileSource, openFolder } from '../src/platform/node-files.ts';
import type { FileTree } from './byte-source.ts';
import { openCheckpoint, openCheckpointFile } from './checkpoint.ts';
import type { Dtype } from './dtypes.ts';
import { checkFit } from './fit.ts';
import { memorySource, memoryTree } from './memory-source.ts';
import { canonicalName } from './names.ts';
import { readFloat32, type TensorEntry } from './safetensors.ts';
import { encodeSafetensors } from './safetensors-writer.ts';

const golden = 'test/golden';

/** A file of one-element tensors of these names. */
const fileWith = (...names: string[]) =>
  encodeSafetensors(
    names.map((name, i) => ({ name, dtype: 'F32', shape: [1], data: new Float32Array([i]) })),
  );

const indexOf = (map: object) => JSON.stringify({ metadata: {}, weight_map: map });
const indexFile = 'model.safetensors.index.json';

/** Counts what is open, to see that nothing stays so. */
function counting(tree: FileTree): FileTree & { stillOpen: () => number } {
  let count = 0;
  return {
    ...tree,
    stillOpen: () => count,
    async open(path, signal) {
      const source = await tree.open(path, signal);
      if (source === null) return null;
      count++;
      return { ...source, close: async () => void count-- };
    },
  };
}

describe('names', () => {
  test.each([
    ['model.embed_tokens.weight', 'model.embed_tokens.weight'],
    ['model.language_model.embed_tokens.weight', 'model.embed_tokens.weight'],
    ['language_model.embed_tokens.weight', 'model.embed_tokens.weight'],
    ['language_model.model.embed_tokens.weight', 'model.embed_tokens.weight'],
    ['model.language_model.layers.3.mlp.up_proj.weight', 'model.layers.3.mlp.up_proj.weight'],
    ['language_model.layers.3.mlp.up_proj.weight', 'model.layers.3.mlp.up_proj.weight'],
    ['language_model.model.layers.3.mlp.up_proj.weight', 'model.layers.3.mlp.up_proj.weight'],
    ['layers.3.mlp.up_proj.weight', 'model.layers.3.mlp.up_proj.weight'],
    ['model.language_model.norm.weight', 'model.norm.weight'],
    ['model.visual.blocks.0.norm1.weight', 'visual.blocks.0.norm1.weight'],
    ['visual.merger.mlp.0.bias', 'visual.merger.mlp.0.bias'],
    ['multi_vector_projector.bias', 'multi_vector_projector.bias'],
    ['lm_head.weight', 'lm_head.weight'],
    ['language_model.lm_head.weight', 'lm_head.weight'],
    ['custom_text_proj.weight', 'custom_text_proj.weight'],
    ['model.normal.weight', 'model.normal.weight'],
    ['model.language_model.layers.0.self_attn.q_proj', 'model.layers.0.self_attn.q_proj'],
    ['', ''],
  ])('%s → %s', (name, canonical) => {
    expect(canonicalName(name)).toBe(canonical);
  });

  test('a canonical name is its own', () => {
    const part = fc.constantFrom(
      'model',
      'language_model',
      'visual',
      'layers',
      'norm',
      'embed_tokens',
      'lm_head',
      '0',
      'weight',
    );
    fc.assert(
      fc.property(fc.array(part), (parts) => {
        const once = canonicalName(parts.join('.'));
        // One prefix chain is understood, not several: a name that still has one is not a tensor's.
        fc.pre(!/^(?:model\.)?language_model\.(?:model\.)?(?:model|language_model)/.test(parts.join('.')));
        expect(canonicalName(once)).toBe(once);
      }),
    );
  });
});

describe('the golden checkpoint', () => {
  test('opens: both shards, 94 tensors, values', async () => {
    const tree = await openFolder(golden);
    const checkpoint = await openCheckpoint(tree);
    const index = JSON.parse(readFileSync(`${golden}/${indexFile}`, 'utf8'));
    expect(new Set(checkpoint.entries.keys())).toEqual(new Set(Object.keys(index.weight_map)));
    expect(checkpoint.files.length).toBe(2);
    const norm = checkpoint.entries.get('model.norm.weight')!;
    expect(norm).toMatchObject({ dtype: 'BF16', shape: [64], byteLength: 128 });
    expect(norm.source.name).toContain(index.weight_map['model.norm.weight']);
    let total = 0;
    for (const entry of checkpoint.entries.values()) {
      total += (await readFloat32(entry, { checkFinite: true })).length;
    }
    expect(total * 2).toBe(index.metadata.total_size);
    await checkpoint.close();
    await tree.close();
  });

  test('a single safetensors file of any name', async () => {
    const file = await openCheckpointFile(await openFileSource(`${golden}/golden.safetensors`));
    expect(file.entries.size).toBe(193);
    await file.close();
  });
});

describe('opening', () => {
  test('model.safetensors comes before the index; new names are canonical; close closes', async () => {
    const tree = counting(
      memoryTree('m', {
        'model.safetensors': fileWith('model.language_model.norm.weight', 'model.visual.merger.ln_q.weight'),
        [indexFile]: indexOf({ x: 'x.safetensors' }),
      }),
    );
    const checkpoint = await openCheckpoint(tree);
    expect([...checkpoint.entries.keys()]).toEqual(['model.norm.weight', 'visual.merger.ln_q.weight']);
    expect(checkpoint.entries.get('model.norm.weight')?.name).toBe('model.language_model.norm.weight');
    expect(tree.stillOpen()).toBe(1);
    await checkpoint.close();
    expect(tree.stillOpen()).toBe(0);
  });

  const refused: [string, Record<string, string | Uint8Array>, RegExp][] = [
    [
      'no weights',
      { 'config.json': '{}' },
      /^m: no weights: neither model\.safetensors nor model\.safetensors\.index\.json/,
    ],
    ['a broken index', { [indexFile]: '{' }, /index\.json: not JSON/],
    ['an index that is null', { [indexFile]: 'null' }, /"weight_map" must be an object .* got undefined/],
    [
      'an index that is a list',
      { [indexFile]: '[]' },
      /"weight_map" must be an object of tensor names and files, got undefined/,
    ],
    ['an empty weight_map', { [indexFile]: indexOf({}) }, /"weight_map" must be .* got \{\}/],
    [
      'a shard outside',
      { [indexFile]: indexOf({ a: '../x.safetensors' }) },
      /a must be in a \.safetensors file beside the index, got "\.\.\/x\.safetensors"/,
    ],
    ['a shard that is a number', { [indexFile]: indexOf({ a: 3 }) }, /beside the index, got 3/],
    [
      'a cut shard',
      {
        [indexFile]: indexOf({ a: '1.safetensors', b: '2.safetensors' }),
        '1.safetensors': fileWith('a'),
        '2.safetensors': fileWith('b').slice(0, -1),
      },
      /m\/2\.safetensors: the file is cut off: 1 bytes are missing/,
    ],
    [
      'two layouts in one',
      { 'model.safetensors': fileWith('model.norm.weight', 'model.language_model.norm.weight') },
      /model\.norm\.weight and model\.language_model\.norm\.weight are the same tensor, model\.norm\.weight, in two layouts/,
    ],
  ];
  test.each(refused)('%s', async (_, files, message) => {
    const tree = counting(memoryTree('m', files));
    await expect(openCheckpoint(tree)).rejects.toThrow(message);
    await expect(openCheckpoint(tree)).rejects.toThrow(CheckpointError);
    expect(tree.stillOpen()).toBe(0);
  });

  test('index and shards are compared both ways, in one message', async () => {
    const tree = counting(
      memoryTree('m', {
        [indexFile]: indexOf({
          a: '1.safetensors',
          b: '1.safetensors',
          c: '2.safetensors',
          d: '3.safetensors',
          e: '3.safetensors',
        }),
        '1.safetensors': fileWith('a', 'extra'),
        '2.safetensors': fileWith('c', 'a'),
      }),
    );
    const error = await openCheckpoint(tree).catch((e: Error) => e);
    expect((error as Error).message.split('\n')).toEqual([
      'm/model.safetensors.index.json: the index and its files do not agree (4 problems):',
      '  missing     b: listed in 1.safetensors, but not in that file',
      '  missing file 3.safetensors, which should hold 2 tensors',
      '  twice       a: in m/1.safetensors and m/2.safetensors',
      '  unlisted    extra: in m/1.safetensors, but not in the index',
      'the files are of different versions or some are missing: download the checkpoint again',
    ]);
    expect(tree.stillOpen()).toBe(0);
  });

  test('a tensor in another shard than the index says', async () => {
    const tree = memoryTree('m', {
      [indexFile]: indexOf({ a: '1.safetensors', b: '2.safetensors' }),
      '1.safetensors': fileWith('b'),
      '2.safetensors': fileWith('a'),
    });
    await expect(openCheckpoint(tree)).rejects.toThrow(/a: listed in 1\.safetensors, but not in that file/);
  });

  test('an abort ends it', async () => {
    const reason = new Error('enough');
    await expect(openCheckpoint(memoryTree('m', {}), AbortSignal.abort(reason))).rejects.toBe(reason);
  });
});

describe('fit', () => {
  const entry = (name: string, shape: number[], dtype: Dtype = 'BF16'): [string, TensorEntry] => [
    name,
    { name, dtype, shape, source: memorySource('m', new Uint8Array(0)), begin: 0, byteLength: 0 },
  ];
  const up = 'model.layers.0.mlp.up_proj.weight';

  test('everything is told at once, in the documented form', () => {
    const specs = [
      { name: up, shape: [11008, 2048] },
      { name: 'model.norm.weight', shape: [2048] },
      { name: 'visual.merger.ln_q.weight', shape: [1280] },
      { name: 'scalar', shape: [] },
    ];
    const entries = new Map([
      entry('stranger.weight', [3]),
      entry(up, [11008, 1536]),
      entry('visual.merger.ln_q.weight', [1280], 'I8'),
      entry('scalar', [1]),
      entry('lm_head.weight', [151936, 2048]),
      entry('rotary_emb.inv_freq', [64]),
    ]);
    const allowUnexpected = (name: string) => name.endsWith('inv_freq');
    expect(() => checkFit(specs, entries, { allowUnexpected })).toThrow(CheckpointError);
    expect(() => checkFit(specs, entries, { allowUnexpected })).toThrow(
      [
        'checkpoint does not fit this model (5 tensors):',
        '  wrong shape model.layers.0.mlp.up_proj.weight: expected [11008, 2048], found [11008, 1536]',
        '  missing     model.norm.weight [2048]',
        '  wrong dtype visual.merger.ln_q.weight: expected F32, F16, BF16 or F64, found I8',
        '  wrong shape scalar: expected [], found [1]',
        '  unexpected  stranger.weight',
        'config.json and the weights must come from the same model: download both again, or mend config.json',
      ].join('\n'),
    );
  });

  test('a fit is silent, and the language model head is no misfit', () => {
    checkFit(
      [{ name: 'a', shape: [2, 0] }],
      new Map([entry('a', [2, 0], 'F16'), entry('lm_head.weight', [9, 9], 'I8')]),
    );
  });

  test('a long list is cut, not the count', () => {
    const specs = Array.from({ length: 100 }, (_, i) => ({ name: `t${i}`, shape: [i] }));
    const message = (() => {
      try {
        checkFit(specs, new Map());
        return '';
      } catch (error) {
        return (error as Error).message;
      }
    })();
    expect(message).toMatch(/\(100 tensors\):\n {2}missing {5}t0 \[0\]/);
    expect(message).toContain('\n  missing     t39 [39]\n  ... and 60 more\n');
  });
});
