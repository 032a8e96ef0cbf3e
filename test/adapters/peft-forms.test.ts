import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, test } from 'vitest';
import { float32Matrix, type Matrix } from '../../kernels/index.ts';
import { combineAdapters } from '../../src/adapters/combine/combine-adapters.ts';
import { compareAdapters } from '../../src/adapters/inspect/compare-adapters.ts';
import { inspectAdapter } from '../../src/adapters/inspect/inspect-adapter.ts';
import { measureDora } from '../../src/adapters/measure-dora.ts';
import { mergeAdapter } from '../../src/adapters/merge.ts';
import { type Adapter, weigh, withAdapters } from '../../src/adapters/with-adapters.ts';
import { expectNoLeak, onEveryBackend, startBackend } from '../support/backends.ts';
import { expectClose } from '../support/close.ts';
import { plainAdapter, randomTerm } from '../support/plain-adapter.ts';
import { adapterIn, type Base, baseMaps, type Golden, goldenFile, outputOf } from './golden-maps.ts';
import { FORMS, MAPS } from './saved-adapters.ts';

// What PEFT computes with every kind of LoRA: peft-forms.py, peft-loads.py, base_maps.py.
const loads = await goldenFile('peft-loads.safetensors');
const forms = await goldenFile('peft-forms.safetensors');
const SAVED_BY_PEFT = [
  'dora',
  'dora-rslora',
  'dora-convolution',
  'bias',
  'tower',
  'patterns',
  'saved',
  'plain',
];

/** Runs with the base maps and adapters of some folders on it, and checks that nothing is left behind. */
const withBase = (
  folders: readonly string[],
  run: (base: Base, adapters: readonly Adapter[]) => Promise<void>,
) =>
  expectNoLeak(async () => {
    const base = await baseMaps(loads);
    const adapters: Adapter[] = [];
    for (const folder of folders)
      adapters.push((await measureDora(await adapterIn(folder), base.params)).adapter);
    try {
      await run(base, adapters);
    } finally {
      for (const adapter of adapters) adapter.dispose();
      base.dispose();
    }
  });

async function expectOutputs(params: Base['params'], golden: Golden, prefix: string, relativeToMax = 2e-6) {
  for (const { name } of MAPS) {
    const expected = await golden.get(`${prefix}/${name}`);
    expectClose(await outputOf(params[name], loads), expected, { relativeToMax, what: `${prefix}/${name}` });
  }
}

onEveryBackend(() => {
  test.each(Object.keys(FORMS))('"%s", which we saved, gives what PEFT computes with it', (name) =>
    withBase([`saved/${name}`], async ({ params }, adapters) => {
      await expectOutputs(withAdapters(params, ...adapters), loads, `y/${name}`);
    }),
  );

  test.each(SAVED_BY_PEFT)('"%s", which PEFT saved, gives what PEFT computes with it', (name) =>
    withBase([`forms/${name}`], async ({ params }, adapters) => {
      await expectOutputs(withAdapters(params, ...adapters), forms, `y/${name}`);
    }),
  );

  test.each([
    ['plain', 'dora'],
    ['dora', 'dora-rslora'],
  ])('"%s" and "%s" active together, in this order', (a, b) =>
    withBase([`forms/${a}`, `forms/${b}`], async ({ params }, adapters) => {
      await expectOutputs(withAdapters(params, ...adapters), forms, `both/${a}+${b}`);
    }),
  );

  test.each(SAVED_BY_PEFT)(
    '"%s" merged is what PEFT merges, computes the same, and comes out again',
    (name) =>
      withBase([`forms/${name}`], async ({ params }, [adapter]) => {
        const before = await weightsOf(params);
        const merge = await mergeAdapter(params, adapter);
        for (const { name: map, inSize, outSize } of MAPS) {
          const { weight, bias } = merge.params[map];
          const rows = await forms.get(`merged/${name}/${map}.weight`); // [out, in]
          const turned = rows.map((_, i) => rows[(i % outSize) * inSize + Math.floor(i / outSize)]);
          expectClose(await valuesOf(weight), turned, { relativeToMax: 1e-6, what: `merged ${map}` });
          const key = `merged/${name}/${map}.bias`;
          expect(bias !== null).toBe(forms.has(key));
          if (bias) expectClose(await bias.data(), await forms.get(key), { relativeToMax: 1e-6, what: key });
        }
        await expectOutputs(merge.params, forms, `y/${name}`);
        expect(await merge.undo()).toBeLessThan(1e-5);
        const after = await weightsOf(params);
        for (const [map, values] of before)
          expectClose(after.get(map) as Float32Array, values, {
            relativeToMax: 5e-6,
            what: `unmerged ${map}`,
          });
      }),
  );

  test('a weighed DoRA adds that part of its whole change', () =>
    withBase(['forms/dora'], async ({ params }, [dora]) => {
      const half = withAdapters(params, weigh(dora, 0.5));
      for (const { name } of MAPS) {
        const [plain, whole] = [await outputOf(params[name], loads), await forms.get(`y/dora/${name}`)];
        const between = plain.map((y, i) => (y + whole[i]) / 2);
        expectClose(await outputOf(half[name], loads), between, { relativeToMax: 2e-6, what: name });
      }
      // A weighed one merges, too: W ← (1 + w (m/n − 1)) W + w m/n scale A B.
      const merge = await mergeAdapter(params, weigh(dora, 0.5));
      const name = 'model.layers.1.mlp.up_proj';
      const merged = await outputOf(merge.params[name], loads);
      expect(await merge.undo()).toBeLessThan(1e-5);
      expectClose(merged, await outputOf(half[name], loads), { relativeToMax: 5e-6, what: 'merged half' });
    }));
});

async function weightsOf(params: Base['params']): Promise<ReadonlyMap<string, Float32Array>> {
  const values = new Map<string, Float32Array>();
  for (const [name, { weight }] of Object.entries(params)) values.set(name, await valuesOf(weight));
  return values;
}

/** Read from a copy of ours: what a matrix lends may be its own tensor, or one that only a tidy frees. */
async function valuesOf(weight: Matrix): Promise<Float32Array> {
  const lent = tf.tidy(() => tf.clone(weight.dense()));
  const values = Float32Array.from(await lent.data());
  lent.dispose();
  return values;
}

describe('what does not go together is refused, and nothing changes', () => {
  beforeAll(() => startBackend('cpu'));

  test('replaced maps: with a weight, or beside another adapter on the same map', () =>
    withBase(['forms/saved', 'saved/plain', 'forms/plain'], async ({ params }, [saved, other, plain]) => {
      expect(() => weigh(saved, 0.5)).toThrow('modules_to_save) and cannot be weighed by 0.5');
      expect(weigh(saved, 1).saved).toBe(saved.saved);
      expect(() => withAdapters(params, other, saved)).toThrow(
        'adapters "saved" and "plain" cannot run together: the first replaces visual.blocks.0.attn.qkv',
      );
      const together = withAdapters(params, plain, saved); // they share q_proj and o_proj only as LoRAs
      expect(together['model.layers.0.self_attn.q_proj'].lora.length).toBe(2);
    }));

  test('merging numbers that do not survive it, or that no unmerging could bring back', () =>
    withBase(['forms/dora'], async ({ params }, [dora]) => {
      const before = await weightsOf(params);
      const name = 'multi_vector_projector';
      const term = randomTerm({ inSize: 12, outSize: 4, rank: 2 }, 1);
      const huge = plainAdapter('huge', { [name]: { ...term, b: term.b.map((v) => v * 1e38), scale: 1e30 } });
      await expect(mergeAdapter(params, huge)).rejects.toThrow(
        'merging "huge" would leave numbers that are no numbers in multi_vector_projector',
      );
      huge.dispose();
      const large = plainAdapter('large', { [name]: { ...term, scale: 1e7 } });
      const merge = await mergeAdapter(params, large);
      await expect(merge.undo()).rejects.toThrow(
        /unmerging "large" gave multi_vector_projector back with an error/,
      );
      large.dispose();
      const magnitude = tf.tensor1d([1, 0, 1, 1]);
      const own = dora.terms.get(name) as NonNullable<ReturnType<typeof dora.terms.get>>;
      const flat = { ...own, dora: { ...own.dora, magnitude, weight: 1 } } as typeof own;
      await expect(mergeAdapter(params, { ...dora, terms: new Map([[name, flat]]) })).rejects.toThrow(
        'multiplies a column of multi_vector_projector by 0.0e+0',
      );
      magnitude.dispose();
      const after = await weightsOf(params);
      for (const [map, values] of before) if (map !== name) expect(after.get(map)).toEqual(values);
    }));

  test.each([
    ['saved', 'replaces visual.blocks.0.attn.qkv, multi_vector_projector (modules_to_save)'],
    ['dora', 'is a DoRA, which scales by the norms of the whole weight, on model.layers.0.self_attn.o_proj'],
    ['bias', 'has a bias of B on model.layers.0.self_attn.q_proj'],
  ])('combining, inspecting and comparing "%s"', (name, said) =>
    withBase([`forms/${name}`, 'forms/plain'], async (_, [given, plain]) => {
      await expect(combineAdapters([plain, given], [1, 1])).rejects.toThrow(`"${name}" ${said}`);
      await expect(inspectAdapter(given)).rejects.toThrow('it cannot be inspected');
      await expect(compareAdapters(plain, given)).rejects.toThrow('it cannot be compared');
    }),
  );

  test('a map of other weights than float32', async () => {
    const matrix = float32Matrix(tf.zeros([2, 2]));
    const packed = { name: 'x', weight: { ...matrix, update: undefined }, bias: null, lora: [] };
    const adapter = plainAdapter('mine', { x: randomTerm({ inSize: 2, outSize: 2, rank: 1 }, 1) });
    await expect(mergeAdapter({ packed }, adapter)).rejects.toThrow('load with residence: "float32"');
    adapter.dispose();
    matrix.dispose();
  });
});
