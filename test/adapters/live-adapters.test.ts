import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { float32Matrix, type LoraTerm } from '../../kernels/index.ts';
import { type Adapter, JinaEmbeddings, saveAdapter, weigh } from '../../src/platform/node.ts';
import { expectNoLeak, onEveryBackend, startBackend } from '../support/backends.ts';
import { expectClose, gaussian } from '../support/close.ts';
import { GOLDEN } from '../support/golden.ts';
import { plainAdapter, randomTerm } from '../support/plain-adapter.ts';

const folder = mkdtempSync(join(tmpdir(), 'live-adapters-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let jina: JinaEmbeddings;
const picture = { width: 56, height: 56, channels: 3 as const, data: new Uint8Array(56 * 56 * 3).fill(90) };
const close = (found: Float32Array, expected: Float32Array, what: string, relativeToMax = 2e-6) =>
  expectClose(found, expected, { relativeToMax, what });

/** An adapter on a few maps of the golden model, of any kind. */
function mapsAdapter(
  name: string,
  maps: readonly string[],
  kind: 'plain' | 'dora' | 'bias',
  seed = 1,
): Adapter {
  const terms = new Map<string, LoraTerm>();
  const made: { dispose(): void }[] = [];
  const keep = <T extends { dispose(): void }>(x: T): T => {
    made.push(x);
    return x;
  };
  for (const [i, module] of maps.entries()) {
    const spec = linears(jina).get(module);
    if (!spec) throw new Error(`no map ${module}`);
    const { inSize, outSize } = spec;
    const at = seed * 100 + i * 10;
    const values = (n: number, more: number) => gaussian(n, at + more).map((v) => v / 4);
    terms.set(module, {
      a: keep(float32Matrix(tf.tensor2d(values(inSize * 2, 1), [inSize, 2]))),
      b: keep(float32Matrix(tf.tensor2d(values(outSize * 2, 2), [2, outSize]))),
      scale: 0.8,
      activation: 'none',
      ...(kind === 'bias' && { bBias: keep(tf.tensor1d(values(outSize, 3))) }),
      ...(kind === 'dora' && {
        dora: { magnitude: keep(tf.tensor1d(values(outSize, 4).map((v) => 1 + v))), norm: null, weight: 1 },
      }),
    });
  }
  return {
    name,
    rank: 2,
    terms,
    parameters: 0,
    dispose: () => made.splice(0).forEach((x) => void x.dispose()),
  };
}

function linears({ model }: JinaEmbeddings): ReadonlyMap<string, { inSize: number; outSize: number }> {
  const found = new Map<string, { inSize: number; outSize: number }>();
  const walk = (node: unknown): void => {
    if (typeof node !== 'object' || node === null) return;
    if ('leaf' in node && node.leaf === 'linear') {
      const leaf = node as unknown as { name: string; inSize: number; outSize: number };
      found.set(leaf.name, leaf);
    } else Object.values(node).forEach(walk);
  };
  walk(model.spec);
  return found;
}

const DECODER = ['model.layers.0.self_attn.q_proj', 'model.layers.1.mlp.down_proj', 'multi_vector_projector'];
const TOWER = ['visual.patch_embed.proj', 'visual.blocks.0.attn.qkv', 'visual.merger.mlp.0'];

onEveryBackend((backend) => {
  beforeAll(async () => {
    jina = await JinaEmbeddings.load(GOLDEN, { device: backend, residence: 'float32' });
    return () => jina.dispose();
  });

  test('a task for each row of a batch, mixes among them: order kept, each as it is alone', () =>
    expectNoLeak(async () => {
      const tasks = [
        'code',
        null,
        'code*0.5 + retrieval*0.5',
        'retrieval',
        'retrieval*0.5+code*0.5',
        'clustering',
      ];
      const inputs = tasks.map((_, i) => (i === 3 ? { image: picture } : `text ${i}`));
      const forward = vi.spyOn(jina.model, 'forward');
      const together = await jina.encode(inputs, { task: tasks });
      const passes = forward.mock.calls.length;
      forward.mockRestore();
      // The texts in one pass, or in one for each adapter; the image.
      expect(passes).toBe(backend === 'webgpu' ? 6 : 2);
      for (const [i, task] of tasks.entries()) {
        const [alone] = await jina.encode([inputs[i]], { task });
        // Products of TensorFlow round by the number of rows.
        if (backend === 'tensorflow') close(together[i], alone, `input ${i}`);
        else expect(together[i]).toEqual(alone);
      }
      expect(together.map((e) => jina.detailsOf(e)?.adapter)).toEqual([
        'code',
        null,
        'code*0.5 + retrieval*0.5',
        'retrieval',
        'retrieval*0.5 + code*0.5',
        'text-matching',
      ]);
      const [first] = jina.model.adapters.keys();
      expect(jina.detailsOf(await jina.encodeText('x'))?.adapter).toBe(first);
    }));

  test('a mix by name is the mix of weighed adapters, and no adapter at weight 0', () =>
    expectNoLeak(async () => {
      const { model } = jina;
      const ids = Int32Array.from(jina.tokenizer.encode('Query: a red car'));
      const run = async (adapter: Parameters<typeof model.view>[0]) => {
        const hidden = await model.forward([{ ids }], { adapter });
        const values = (await hidden.data()) as Float32Array;
        hidden.dispose();
        return values;
      };
      const byHand = [weigh(model.adapter('retrieval'), 0.7), weigh(model.adapter('code'), -0.3)];
      expect(await run('retrieval*0.7 + code*-0.3')).toEqual(await run(byHand));
      expect(await run('retrieval*0')).toEqual(await run(null));
      expect(await run('retrieval*0.25 + retrieval*0.75')).toEqual(await run('retrieval'));
      const aliased = await jina.encodeText('a', { task: 'classification*0.5 + code' });
      expect(jina.detailsOf(aliased)?.adapter).toBe('text-matching*0.5 + code*1');
    }));

  test('a LoRA on the vision tower: images are seen with it, beside the weights as merged', () =>
    expectNoLeak(async () => {
      const inputs = ['a text', { image: picture }, { image: picture }, { image: picture }];
      const base = await jina.encode(inputs, { task: null });
      for (const kind of ['plain', 'dora', 'bias'] as const) {
        await jina.model.placeAdapter(mapsAdapter('seeing', [...TOWER, ...DECODER], kind));
        expect(jina.model.touchesVision('seeing')).toBe(true);
        const alone = await jina.encode(inputs, { task: 'seeing' });
        const mixed = await jina.encode(inputs, { task: ['seeing', null, 'seeing', 'retrieval'] });
        close(mixed[0], alone[0], `${kind}: text`);
        close(mixed[1], base[1], `${kind}: image without`);
        close(mixed[2], alone[2], `${kind}: image with`);
        expect(Math.max(...alone[2].map((v, i) => Math.abs(v - base[2][i])))).toBeGreaterThan(1e-3);
        await jina.model.mergeAdapter('seeing');
        const merged = await jina.encode(inputs, { task: 'seeing' });
        expect(await jina.model.unmergeAdapter()).toBeLessThan(1e-5);
        for (const [i, v] of merged.entries()) close(v, alone[i], `${kind}: merged ${i}`, 1e-5);
        const back = await jina.encode(inputs, { task: null });
        for (const [i, v] of back.entries()) close(v, base[i], `${kind}: unmerged ${i}`, 1e-5);
        jina.model.deleteAdapter('seeing');
      }
    }));
});

describe('adapters of a running model', () => {
  beforeAll(async () => {
    await startBackend('wasm');
    jina = await JinaEmbeddings.load(GOLDEN, { device: 'wasm', residence: 'float32' });
    return () => jina.dispose();
  });
  const vector = (task: string | null, text = 'a red car') => jina.encodeText(text, { task });

  test('off and on: a disabled adapter stays and adds nothing, and the details say so', () =>
    expectNoLeak(async () => {
      const { model } = jina;
      const [on, base, half] = [await vector('code'), await vector(null), await vector('retrieval*0.5')];
      model.disableAdapter('code');
      expect([model.isEnabled('code'), model.adapters.has('code')]).toEqual([false, true]);
      const off = await vector('code');
      expect(off).toEqual(base);
      expect(jina.detailsOf(off)).toMatchObject({ task: 'code', adapter: null });
      const rest = await vector('retrieval*0.5 + code*0.5');
      expect(rest).toEqual(half);
      expect(jina.detailsOf(rest)?.adapter).toBe('retrieval*0.5');
      await expect(model.mergeAdapter('code')).rejects.toThrow('"code" is disabled');
      model.enableAdapter('code');
      expect(await vector('code')).toEqual(on);
    }));

  test('renamed: the same vectors under the new name, in the same place', () =>
    expectNoLeak(async () => {
      const { model } = jina;
      const order = [...model.adapters.keys()];
      const on = await vector('code');
      model.disableAdapter('code');
      model.renameAdapter('code', 'source');
      expect([...model.adapters.keys()]).toEqual(order.map((name) => (name === 'code' ? 'source' : name)));
      expect([model.adapter('source').name, model.isEnabled('source')]).toEqual(['source', false]);
      model.enableAdapter('source');
      expect(await vector('source')).toEqual(on);
      await expect(vector('code')).rejects.toThrow('unknown task "code"');
      expect(() => model.renameAdapter('source', 'retrieval')).toThrow('"retrieval" is already there');
      model.renameAdapter('source', 'code');
    }));

  test('loaded from a folder, swapped for another, deleted: tensors come and go, the rest stays', () =>
    expectNoLeak(async () => {
      const before = tf.memory().numTensors;
      for (const [i, kind] of (['plain', 'dora', 'bias'] as const).entries()) {
        const adapter = mapsAdapter('mine', DECODER, kind, 7 + i);
        await saveAdapter(adapter, join(folder, kind));
        adapter.dispose();
      }
      expect(await jina.loadAdapter(join(folder, 'plain'), { name: 'mine' })).toEqual(['mine']);
      expect(tf.memory().numTensors).toBe(before + 6);
      const plain = await vector('mine');
      await expect(jina.loadAdapter(join(folder, 'dora'), { name: 'mine' })).rejects.toThrow('already there');
      expect(tf.memory().numTensors).toBe(before + 6);
      await jina.loadAdapter(join(folder, 'dora'), { name: 'mine', replace: true });
      expect(tf.memory().numTensors).toBe(before + 12); // magnitudes, and lengths that were measured
      const dora = await vector('mine');
      expect(dora).not.toEqual(plain);
      await jina.loadAdapter(join(folder, 'plain'), { name: 'mine', replace: true });
      expect(await vector('mine')).toEqual(plain);
      const names = await jina.loadAdapter(join(GOLDEN, 'adapters'), { task: 'code', name: 'again' });
      expect(names).toEqual(['again']);
      expect(await vector('again')).toEqual(await vector('code'));
      for (const name of ['mine', 'again']) jina.model.deleteAdapter(name);
      expect(tf.memory().numTensors).toBe(before);
    }));

  test('calls that have begun go on with the adapter that was there; it is freed behind them', async () => {
    const before = tf.memory().numTensors;
    const texts = Array.from({ length: 12 }, (_, i) => `text number ${i}`);
    jina.model.addAdapter(mapsAdapter('mine', DECODER, 'plain', 3));
    const expected = await jina.encodeText(texts, { task: 'mine', batchSize: 2 });
    const other = mapsAdapter('mine', DECODER, 'plain', 4);
    const running = jina.encodeText(texts, {
      task: 'mine',
      batchSize: 2,
      onProgress: (done) => {
        if (done === 4) jina.model.replaceAdapter(other);
        if (done === 8) jina.model.deleteAdapter('mine');
      },
    });
    expect(await running).toEqual(expected);
    expect(tf.memory().numTensors).toBe(before);
    await expect(vector('mine')).rejects.toThrow('unknown task');
  });

  test('a merged adapter is not deleted, renamed, replaced or switched off', async () => {
    const { model } = jina;
    await model.mergeAdapter('code');
    for (const [act, what] of [
      [() => model.deleteAdapter('code'), 'deleted'],
      [() => model.renameAdapter('code', 'x'), 'renamed'],
      [() => model.replaceAdapter({ ...model.adapter('code') }), 'replaced'],
      [() => model.disableAdapter('code'), 'disabled'],
    ] as const)
      expect(act).toThrow(`adapter "code" is merged and cannot be ${what}`);
    await expect(vector('code*0.5')).rejects.toThrow('"code" is merged into the weights');
    const dora = mapsAdapter('mine', DECODER, 'dora');
    await expect(model.placeAdapter(dora)).rejects.toThrow('measured on the plain weights');
    dora.dispose();
    expect(await model.unmergeAdapter()).toBeLessThan(1e-6);
    await expect(model.unmergeAdapter()).rejects.toThrow('no adapter is merged');
  });

  test('mistakes', async () => {
    const { model } = jina;
    await expect(vector('retrieval*0.7 + minne*0.3')).rejects.toThrow(
      /unknown task "minne"; .* has retrieval, .*a\*0\.7 \+ b\*0\.3 mixes/,
    );
    await expect(vector('retrieval*0.7 +')).rejects.toThrow('is no mix of adapters');
    expect(() => model.view('retrieval*0.7 + minne')).toThrow('no adapter named "minne"');
    for (const act of [model.deleteAdapter, model.disableAdapter, model.enableAdapter, model.isEnabled])
      expect(() => act.call(model, 'minne')).toThrow('no adapter named "minne"');
    const dora = mapsAdapter('mine', DECODER, 'dora');
    expect(() => model.addAdapter(dora)).toThrow('model.placeAdapter');
    dora.dispose();
    await expect(jina.loadAdapter(join(GOLDEN, 'adapters'), { name: 'x' })).rejects.toThrow('say which one');
    await expect(jina.loadAdapter(join(GOLDEN, 'images'))).rejects.toThrow('holds no adapter');
    const term = randomTerm({ inSize: 4, outSize: 4, rank: 1 }, 1);
    const stray = plainAdapter('stray', { multi_vector_projector: term });
    model.addAdapter(stray);
    await expect(jina.encodeText('x', { task: 'stray', returnMultivector: true })).rejects.toThrow(
      'does not fit',
    );
    model.deleteAdapter('stray');
  });

  test('a DoRA on weights that are streamed, and on packed ones, is measured on the same numbers', async () => {
    const adapter = mapsAdapter('mine', [...DECODER, ...TOWER], 'dora', 5);
    await saveAdapter(adapter, join(folder, 'streamed'));
    adapter.dispose();
    await jina.loadAdapter(join(folder, 'streamed'), { name: 'mine' });
    const expected = await jina.encode(['a red car', { image: picture }], { task: 'mine' });
    jina.model.deleteAdapter('mine');
    for (const residence of ['streamed', 'bfloat16'] as const) {
      await expectNoLeak(async () => {
        const other = await JinaEmbeddings.load(GOLDEN, { device: 'wasm', residence });
        await other.loadAdapter(join(folder, 'streamed'), { name: 'mine' });
        const found = await other.encode(['a red car', { image: picture }], { task: 'mine' });
        for (const [i, v] of found.entries()) close(v, expected[i], `${residence} ${i}`, 1e-5);
        other.dispose();
      });
    }
  });
});
