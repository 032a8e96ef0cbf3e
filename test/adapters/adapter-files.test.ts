import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { weigh } from '../../src/adapters/with-adapters.ts';
import { loadAdapter } from '../../src/load-adapter.ts';
import { openFolder, saveAdapter } from '../../src/platform/node.ts';
import { listAdapterFiles } from '../../weights/adapter-files.ts';
import { memorySource } from '../../weights/memory-source.ts';
import { readHeader } from '../../weights/safetensors.ts';
import { expectNoLeak, startBackend } from '../support/backends.ts';
import { plainAdapter, randomTerm } from '../support/plain-adapter.ts';
import { FORMS, MAPS_SPEC, savedAdapter } from './saved-adapters.ts';

const folder = mkdtempSync(join(tmpdir(), 'adapter-files-'));
const golden = (name: string) => fileURLToPath(new URL(`saved/${name}`, import.meta.url));
const names = Object.keys(FORMS);
beforeAll(() => startBackend('cpu'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const configIn = (path: string) => JSON.parse(readFileSync(join(path, 'adapter_config.json'), 'utf8'));

test.each(names)(
  '"%s": what is written is, byte for byte, what peft-loads.py has shown PEFT to load',
  async (name) => {
    await expectNoLeak(async () => {
      const adapter = savedAdapter(name);
      await saveAdapter(adapter, join(folder, name));
      adapter.dispose();
    });
    for (const file of ['adapter_config.json', 'adapter_model.safetensors'])
      expect(readFileSync(join(folder, name, file)).equals(readFileSync(join(golden(name), file)))).toBe(
        true,
      );
    expect(readdirSync(join(folder, name)).length).toBe(2); // no temporary file is left
  },
);

test.each(names)(
  '"%s": saved and loaded again, every tensor is the same and every scale is, to the last bits',
  async (name) => {
    const given = savedAdapter(name);
    const tree = await openFolder(golden(name));
    const [file] = await listAdapterFiles(tree);
    const found = await loadAdapter(file, MAPS_SPEC);
    await tree.close();
    expect(found.rank).toBe(given.rank);
    expect(found.kernels).toEqual(given.kernels);
    expect([...found.terms.keys()]).toEqual([...given.terms.keys()]);
    const same = async (x: tf.Tensor | null | undefined, y: tf.Tensor | null | undefined) =>
      expect(await x?.data()).toEqual(await y?.data());
    for (const [module, term] of found.terms) {
      const from = given.terms.get(module) as typeof term;
      await same(term.a.dense(), from.a.dense());
      await same(term.b.dense(), from.b.dense());
      await same(term.bBias, from.bBias);
      await same(term.dora?.magnitude, from.dora?.magnitude);
      expect(Math.abs(term.scale / from.scale - 1)).toBeLessThan(1e-15);
    }
    expect([...(found.saved ?? []).keys()]).toEqual([...(given.saved ?? []).keys()]);
    for (const [module, map] of found.saved ?? []) {
      await same(map.weight?.dense(), given.saved?.get(module)?.weight?.dense());
      await same(map.bias, given.saved?.get(module)?.bias);
    }
    given.dispose();
    found.dispose();
  },
);

test('old layout, bfloat16, base model; PEFT’s patterns name the modules that differ', async () => {
  const adapter = savedAdapter('plain');
  const path = join(folder, 'made', 'on', 'the', 'way');
  await saveAdapter(adapter, path, { layout: 'old', dtype: 'BF16', baseModel: 'somebody/base' });
  const { tensors, metadata } = await readHeader(
    memorySource('saved', readFileSync(join(path, 'adapter_model.safetensors'))),
  );
  expect(metadata).toEqual({ format: 'pt' });
  expect(tensors.get('base_model.model.visual.blocks.0.attn.qkv.lora_B.weight')).toMatchObject({
    dtype: 'BF16',
    shape: [12, 3],
  });
  expect(tensors.has('base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight')).toBe(true);
  expect(configIn(path)).toMatchObject({
    base_model_name_or_path: 'somebody/base',
    r: 4,
    lora_alpha: 2,
    rank_pattern: { 'visual.patch_embed.proj': 2, 'visual.blocks.0.attn.qkv': 3, multi_vector_projector: 2 },
  });
  adapter.dispose();
});

test('a ReLU is written, and read, in a key of our own', async () => {
  const term = randomTerm({ inSize: 12, outSize: 4, rank: 2, activation: 'relu', scale: 3 }, 1);
  const adapter = plainAdapter('mine', { multi_vector_projector: term });
  await saveAdapter(adapter, join(folder, 'relu'));
  const tree = await openFolder(join(folder, 'relu'));
  const [file] = await listAdapterFiles(tree);
  const found = await loadAdapter(file, MAPS_SPEC);
  expect(found.terms.get('multi_vector_projector')).toMatchObject({ activation: 'relu', scale: 3 });
  await tree.close();
  adapter.dispose();
  found.dispose();
});

test('what no PEFT config describes is refused, and a folder that cannot be made is named', async () => {
  const dora = savedAdapter('dora');
  await expect(saveAdapter(weigh(dora, 0.5), folder)).rejects.toThrow('"dora" is a weighed DoRA');
  const [[module, plain]] = savedAdapter('plain').terms;
  const partly = { ...dora, terms: new Map([...dora.terms, [module, plain]]) };
  await expect(saveAdapter(partly, folder)).rejects.toThrow('"dora" is a DoRA on 4 of its 5 maps');
  const mixed = plainAdapter('mixed', {
    x: randomTerm({ inSize: 2, outSize: 2, rank: 1, activation: 'relu' }, 1),
    y: randomTerm({ inSize: 2, outSize: 2, rank: 1 }, 2),
  });
  await expect(saveAdapter(mixed, folder)).rejects.toThrow(
    '"mixed" has a ReLU between the matrices of some maps',
  );
  writeFileSync(join(folder, 'a-file'), '');
  await expect(saveAdapter(savedAdapter('bias'), join(folder, 'a-file', 'x'))).rejects.toThrow(
    'the adapter could not be written (ENOTDIR)',
  );
});
