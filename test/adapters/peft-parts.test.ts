import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type EmbeddingTable, embed, float32Matrix, rmsNorm, tensorTable } from '../../kernels/index.ts';
import { adapterBytes, adapterSizes } from '../../src/adapter-sizes.ts';
import { combineAdapters } from '../../src/adapters/combine/combine-adapters.ts';
import { inspectAdapter } from '../../src/adapters/inspect/inspect-adapter.ts';
import { measureDora } from '../../src/adapters/measure-dora.ts';
import { mergeAdapter } from '../../src/adapters/merge.ts';
import { type Adapter, modulesOf, weigh, withAdapters } from '../../src/adapters/with-adapters.ts';
import { Held } from '../../src/held.ts';
import { type Linear, linear, linearSpec } from '../../src/layers/linear.ts';
import type { LeafSpec } from '../../src/layers/spec.ts';
import { tableSpec, tensorSpec } from '../../src/layers/spec.ts';
import { loadAdapter } from '../../src/load-adapter.ts';
import { isBlocks, isLinear, isTable, isTensor, type ModelSpec, placesOf } from '../../src/params.ts';
import { openFolder, saveAdapter } from '../../src/platform/node.ts';
import { listAdapterFiles } from '../../weights/adapter-files.ts';
import { memorySource } from '../../weights/memory-source.ts';
import { readFloat32, readHeader } from '../../weights/safetensors.ts';
import { expectNoLeak, onEveryBackend, startBackend } from '../support/backends.ts';
import { expectClose } from '../support/close.ts';
import { GEOMETRIES, geometryConfig, narrowed } from '../support/geometries.ts';
import { randomModel } from '../support/random-model.ts';
import { goldenFile } from './golden-maps.ts';

// What PEFT computes with adapters that change norms, the token table and biases of the base: peft-parts.py.
const golden = await goldenFile('peft-parts.safetensors');
const TABLE = 'model.embed_tokens';

// A part of peft-parts.py is a leaf of a flat tree, called by its module.
const norm = (name: string, width: number) => [name, tensorSpec(`${name}.weight`, width)] as const;
const map = (name: string, inSize: number, outSize: number, bias: boolean) =>
  [name, linearSpec(name, inSize, outSize, { bias })] as const;
const SPEC: Readonly<Record<string, LeafSpec>> = Object.fromEntries([
  norm('visual.blocks.0.norm1', 8),
  norm('visual.merger.ln_q', 8),
  map('visual.merger.mlp.0', 8, 12, true),
  [TABLE, tableSpec(`${TABLE}.weight`, 20, 12)] as const,
  norm('model.layers.0.input_layernorm', 12),
  map('model.layers.0.self_attn.q_proj', 12, 10, true),
  map('model.layers.0.self_attn.o_proj', 10, 12, false),
  norm('model.norm', 12),
  map('multi_vector_projector', 12, 4, true),
]);
const FORMS = [
  'norms',
  'table',
  'bias-all',
  'bias-all-saved',
  'bias-lora-only',
  'bias-dora',
  'embedding',
  'embedding-table',
  'embedding-dora',
];

type Params = Readonly<Record<string, Linear | tf.Tensor1D | EmbeddingTable>>;

async function baseParts(held: Held): Promise<Params> {
  const params: Record<string, Linear | tf.Tensor1D | EmbeddingTable> = {};
  for (const [name, spec] of Object.entries(SPEC)) {
    const values = await golden.get(`base/${name}.weight`);
    if (spec.leaf === 'tensor') params[name] = held.keep(tf.tensor1d(values));
    else if (spec.leaf === 'table')
      params[name] = held.keep(tensorTable(tf.tensor2d(values, [...spec.shape])));
    else {
      const { inSize, outSize } = spec;
      const turned = tf.tidy(() => tf.transpose(tf.tensor2d(values, [outSize, inSize])));
      const weight = held.keep(float32Matrix(turned));
      const bias = spec.bias ? held.keep(tf.tensor1d(await golden.get(`base/${name}.bias`))) : null;
      params[name] = { name, weight, bias, lora: [] };
    }
  }
  return params;
}

async function adapterAt(path: string): Promise<Adapter> {
  const tree = await openFolder(path);
  try {
    const [file] = await listAdapterFiles(tree);
    return await loadAdapter(file, SPEC as unknown as ModelSpec, { residence: 'float32' });
  } finally {
    await tree.close();
  }
}

const formPath = (name: string) => fileURLToPath(new URL(`parts/${name}`, import.meta.url));

/** Runs with the base parts and adapters on it, and checks that nothing is left behind. */
const withParts = (
  paths: readonly string[],
  run: (params: Params, adapters: readonly Adapter[]) => Promise<void>,
) =>
  expectNoLeak(async () => {
    const held = new Held();
    try {
      const params = await baseParts(held);
      const adapters: Adapter[] = [];
      for (const path of paths)
        adapters.push(held.keep((await measureDora(await adapterAt(path), params)).adapter));
      await run(params, adapters);
    } finally {
      held.dispose();
    }
  });

/** What a part makes of the golden input.   → [5, out] */
async function outputOf(params: Params, name: string): Promise<Float32Array> {
  const part = params[name];
  const input = await golden.get(`x/${name}`);
  const read = async (y: tf.Tensor) => (await y.data()) as Float32Array;
  if (isTable(part)) {
    const y = await embed(part, Int32Array.from(input));
    return read(y).finally(() => y.dispose());
  }
  const x = tf.tensor2d(input, [5, input.length / 5]);
  const y = isTensor(part) ? rmsNorm(x, part as tf.Tensor1D, 1e-6) : linear(part, x);
  return read(y).finally(() => tf.dispose([x, y]));
}

async function expectOutputs(params: Params, prefix: string) {
  for (const name of Object.keys(SPEC)) {
    const expected = await golden.get(`${prefix}/${name}`);
    expectClose(await outputOf(params, name), expected, { relativeToMax: 2e-6, what: `${prefix}/${name}` });
  }
}

onEveryBackend(() => {
  test.each(FORMS)('"%s" gives what PEFT computes with it, on its call alone', (name) =>
    withParts([formPath(name)], async (params, [adapter]) => {
      const before = new Map<string, Float32Array>();
      for (const part of Object.keys(SPEC)) before.set(part, await outputOf(params, part));
      await expectOutputs(withAdapters(params, adapter), `y/${name}`);
      let changed = 0;
      for (const [part, values] of before) {
        expect(await outputOf(withAdapters(params), part)).toEqual(values); // without it nothing has changed
        if (values.some((v, i) => v !== values[i])) changed++;
      }
      expect(changed).toBe(0);
      // Every part that the adapter names is another than the base's.
      for (const module of modulesOf(adapter)) {
        const found = await outputOf(withAdapters(params, adapter), module);
        expect(found, module).not.toEqual(before.get(module));
      }
    }),
  );

  test('"bias-all" and "embedding" active together, in this order', () =>
    withParts([formPath('bias-all'), formPath('embedding')], async (params, adapters) =>
      expectOutputs(withAdapters(params, ...adapters), 'both/bias-all+embedding'),
    ));

  test.each(FORMS)('"%s" merged computes what PEFT has merged, and comes out again', (name) =>
    withParts([formPath(name)], async (params, [adapter]) => {
      const merge = await mergeAdapter(params, adapter);
      await expectOutputs(merge.params, `merged/${name}`);
      expect(await merge.undo()).toBeLessThan(1e-5);
      await expectOutputs(withAdapters(params, adapter), `y/${name}`);
    }),
  );

  test('a weighed LoRA of the table adds that part of its change', () =>
    withParts([formPath('embedding')], async (params, [adapter]) => {
      const half = await outputOf(withAdapters(params, weigh(adapter, 0.5)), TABLE);
      const [plain, whole] = [await outputOf(params, TABLE), await golden.get(`y/embedding/${TABLE}`)];
      const between = plain.map((y, i) => (y + whole[i]) / 2);
      expectClose(half, between, { relativeToMax: 2e-6, what: 'half' });
      const both = await combineAdapters([adapter, adapter], [0.25, 0.25], { type: 'cat', name: 'both' });
      expectClose(await outputOf(withAdapters(params, both), TABLE), between, {
        relativeToMax: 2e-6,
        what: 'combined',
      });
      both.dispose();
      expect((await inspectAdapter(adapter)).modules.map((m) => m.module)).toContain(TABLE);
    }));
});

describe('as files', () => {
  beforeAll(() => startBackend('cpu'));
  const folder = mkdtempSync(join(tmpdir(), 'adapter-parts-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  const tensorsIn = async (path: string) => {
    const bytes = readFileSync(join(path, 'adapter_model.safetensors'));
    return (await readHeader(memorySource(path, bytes))).tensors;
  };
  const configIn = (path: string) => JSON.parse(readFileSync(join(path, 'adapter_config.json'), 'utf8'));

  test.each(FORMS)('"%s" is written as PEFT has written it, and read again it is the same', (name) =>
    withParts([formPath(name)], async (params, [adapter]) => {
      const path = join(folder, name);
      await saveAdapter(adapter, path);
      const [found, given] = [await tensorsIn(path), await tensorsIn(formPath(name))];
      // PEFT has the biases of a saved module three times: the trained one, with its wrapper, and the base's.
      const wanted = [...given.keys()].filter(
        (key) => !/\.(?:original_module|modules_to_save)\.bias$/.test(key),
      );
      expect([...found.keys()].sort()).toEqual(wanted.sort());
      for (const [key, entry] of found) {
        const from = given.get(key);
        if (!from) throw new Error(key);
        expect(entry.shape).toEqual(from.shape);
        expect(await readFloat32(entry), key).toEqual(await readFloat32(from));
      }
      expect(configIn(path).bias).toBe(configIn(formPath(name)).bias);
      const again = (await measureDora(await adapterAt(path), params)).adapter;
      await expectOutputs(withAdapters(params, again), `y/${name}`);
      again.dispose();
    }),
  );

  test.each(FORMS)('the plan of "%s" is what it takes in memory', async (name) => {
    const held = new Held();
    const params = await baseParts(held);
    const before = tf.memory().numBytes;
    const { adapter } = await measureDora(await adapterAt(formPath(name)), params);
    const taken = tf.memory().numBytes - before;
    const tree = await openFolder(formPath(name));
    const sizes = adapterSizes(await listAdapterFiles(tree));
    await tree.close();
    expect(adapterBytes(sizes, 'float32')).toBe(taken);
    expect(sizes.tables).toBe(adapter.table?.bytes ?? 0);
    adapter.dispose();
    held.dispose();
  });

  test('what replaces parts is there or not: it cannot be weighed, combined, or stand beside its like', () =>
    withParts(
      ['norms', 'bias-all', 'bias-lora-only', 'table', 'embedding'].map(formPath),
      async (params, [norms, biases, others, table, embedding]) => {
        expect(() => weigh(norms, 0.5)).toThrow(
          'replaces model.layers.0.input_layernorm, model.norm, visual.blocks.0.norm1, visual.merger.ln_q (modules_to_save)',
        );
        expect(() => weigh(biases, 0.5)).toThrow('multi_vector_projector.bias (bias) and cannot be weighed');
        expect(() => withAdapters(params, biases, others)).toThrow(
          'the first replaces the bias of model.layers.0.self_attn.q_proj, which the second changes, too',
        );
        expect(() => withAdapters(params, embedding, table)).toThrow(
          `the first replaces ${TABLE} (modules_to_save)`,
        );
        await expect(combineAdapters([norms, embedding], [1, 1])).rejects.toThrow('cannot be combined');
        expect(withAdapters(params, norms, biases)[TABLE]).toBe(params[TABLE]);
      },
    ));

  test('in a whole model every norm has its place, and a call with the adapter runs on them and on its table', () =>
    expectNoLeak(async () => {
      const config = geometryConfig(narrowed(GEOMETRIES.published));
      const model = randomModel(config);
      const held = new Held();
      const leaves = [...placesOf(model.spec)].filter(([leaf]) => leaf.leaf === 'tensor');
      const norms = new Map(
        leaves.map(([{ name, shape }, place]) => {
          const weight = held.keep(tf.fill([shape[0]], 0.5)) as tf.Tensor1D;
          return [name.replace(/\.weight$/, ''), { place, weight }];
        }),
      );
      const { vocabSize, hiddenSize } = config.decoder;
      const table = held.keep(tensorTable(tf.randomNormal([vocabSize, hiddenSize], 0, 1, 'float32', 3)));
      const adapter: Adapter = {
        name: 'parts',
        rank: 0,
        parameters: 0,
        terms: new Map(),
        norms,
        table,
        dispose: () => held.dispose(),
      };
      const found = new Set<tf.Tensor>();
      const note = (tree: unknown): void => {
        if (isTensor(tree)) found.add(tree);
        else if (isBlocks(tree)) for (let i = 0; i < tree.length; i++) note(tree.take(i));
        else if (!isTable(tree) && !isLinear(tree)) Object.values(tree as object).forEach(note);
      };
      note(withAdapters(model.params, adapter));
      expect(norms.size).toBe(2 * 3 + 1 + 2 * 2 + 1); // of the tower and its merger, of the decoder and its end
      expect(found).toEqual(new Set([...norms.values()].map(({ weight }) => weight)));
      model.addAdapter(adapter);
      expect(model.touchesVision('parts')).toBe(true);
      const ids = Int32Array.from([3, 1, 4, 1, 5]);
      const run = async (choice: string | null) => {
        const hidden = await model.forward([{ ids }], { adapter: choice });
        return hidden.data().finally(() => hidden.dispose());
      };
      const plain = await run(null);
      const own = await run('parts');
      expect(own).not.toEqual(plain);
      expect(await run(null)).toEqual(plain);
      model.disableAdapter('parts');
      expect(await run('parts')).toEqual(plain);
      model.dispose();
    }));

  test('what does not fit the model is told', async () => {
    const spec = { ...SPEC, 'model.norm': tensorSpec('model.norm.weight', 13) } as Record<string, LeafSpec>;
    spec[TABLE] = tableSpec(`${TABLE}.weight`, 21, 12);
    delete spec['visual.merger.ln_q'];
    const load = async (name: string) => {
      const tree = await openFolder(formPath(name));
      const [file] = await listAdapterFiles(tree);
      return loadAdapter(file, spec as unknown as ModelSpec).finally(() => tree.close());
    };
    await expect(load('norms')).rejects.toThrow(/wrong shape model\.norm: expected \[13\], found \[12\]/);
    await expect(load('norms')).rejects.toThrow(/unexpected {2}visual\.merger\.ln_q: the model has nothing/);
    await expect(load('table')).rejects.toThrow(/wrong shape model\.embed_tokens: expected \[21, 12\]/);
    await expect(load('embedding')).rejects.toThrow(
      /wrong shape model\.embed_tokens: expected A \[r, 21\] and B \[12, r\], found A \[4, 20\] and B \[12, 4\]/,
    );
  });
});
