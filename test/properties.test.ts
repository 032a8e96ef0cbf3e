import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { JinaEmbeddings, weigh } from '../src/platform/node.ts';
import { textIds } from '../src/text/prompts.ts';
import { startBackend } from './support/backends.ts';
import { expectClose, gaussian } from './support/close.ts';
import { GOLDEN } from './support/golden.ts';

let jina: JinaEmbeddings;
beforeAll(async () => {
  jina = await JinaEmbeddings.load(GOLDEN, { device: 'wasm' });
});
afterAll(() => jina.dispose());

const text = fc.string({ unit: 'grapheme', maxLength: 30 });
const norm = (v: ArrayLike<number>) => Math.hypot(...Array.from(v));
const raw = (seed: number) => ({
  width: 56 + 28 * (seed % 3),
  height: 56,
  channels: 3 as const,
  data: noise(seed),
});
const noise = (seed: number) =>
  Uint8Array.from(gaussian((56 + 28 * (seed % 3)) * 56 * 3, seed), (v) =>
    Math.max(0, Math.min(255, 128 + 60 * v)),
  );

test('truncation is slicing and normalising again; sizes nest; all vectors are unit vectors', () =>
  fc.assert(
    fc.asyncProperty(text, async (t) => {
      const [full, half, quarter] = await Promise.all(
        [64, 32, 16].map((truncateDim) => jina.encodeText(t, { truncateDim })),
      );
      for (const [small, large] of [
        [half, full],
        [quarter, full],
        [quarter, half],
      ]) {
        const cut = large.slice(0, small.length);
        const scale = norm(cut);
        expectClose(
          small,
          cut.map((v) => v / scale),
          { relativeToMax: 1e-6, what: `${small.length} of ${large.length}` },
        );
      }
      for (const v of [full, half, quarter]) expect(norm(v)).toBeCloseTo(1, 5);
    }),
    { numRuns: 15 },
  ));

test('order, batch size, token budget and neighbours change nothing, bit for bit', () =>
  fc.assert(
    fc.asyncProperty(
      fc.array(
        fc.oneof(
          text,
          fc.integer({ min: 0, max: 5 }).map((seed) => ({ image: raw(seed) })),
        ),
        { minLength: 1, maxLength: 6 },
      ),
      fc.integer({ min: 1, max: 7 }),
      fc.integer({ min: 1, max: 200 }),
      fc.infiniteStream(fc.nat()),
      async (inputs, batchSize, tokenBudget, order) => {
        const alone: Float32Array[] = [];
        for (const input of inputs) alone.push((await jina.encode([input]))[0]);
        const shuffled = inputs
          .map((input, i) => ({ input, i, key: order.next().value as number }))
          .sort((a, b) => a.key - b.key);
        const together = await jina.encode(
          shuffled.map((s) => s.input),
          { batchSize, tokenBudget },
        );
        shuffled.forEach(({ i }, at) => {
          expect([...together[at]]).toEqual([...alone[i]]);
        });
      },
    ),
    { numRuns: 12 },
  ));

test('a task for each input gives what each task gives alone', async () => {
  const texts = ['one', 'two', 'three', 'four'];
  const tasks = ['code', 'retrieval', null, 'text-matching'];
  const together = await jina.encodeText(texts, { task: tasks });
  for (const [i, t] of texts.entries()) {
    expect([...together[i]]).toEqual([...(await jina.encodeText(t, { task: tasks[i] }))]);
  }
  const images = [raw(1), raw(2), raw(3)];
  const seen = await jina.encodeImage(images, { task: ['code', 'retrieval', 'code'] });
  expect([...seen[2]]).toEqual([...(await jina.encodeImage(images[2], { task: 'code' }))]);
});

test('a zero adapter is the base bit for bit; two adapters are the sum of their deltas; scale is linear', async () => {
  const { model } = jina;
  const ids = textIds(jina.tokenizer, 'a red car', { promptName: 'query', maxLength: 100 });
  const x = tf.tensor2d(gaussian(5 * 64, 3), [5, 64]);
  const project = async (choice: Parameters<typeof model.view>[0]) => {
    const { multiVectorProjector: p } = model.view(choice);
    const { linear } = await import('../kernels/index.ts');
    const y = linear({ ...p, x });
    const values = await y.data();
    y.dispose();
    return values;
  };
  const run = async (choice: Parameters<typeof model.view>[0]) => {
    const hidden = await model.forward([{ ids }], { adapter: choice });
    const values = await hidden.data();
    hidden.dispose();
    return values;
  };
  const [a, b] = [model.adapter('retrieval'), model.adapter('code')];
  expect([...(await run([weigh(a, 0)]))]).toEqual([...(await run(null))]);

  const [base, ya, yb, both, scaled] = [
    await project(null),
    await project('retrieval'),
    await project('code'),
    await project([a, b]),
    await project([weigh(a, -1.5)]),
  ];
  expectClose(
    both,
    base.map((v, i) => ya[i] + yb[i] - v),
    { relativeToMax: 1e-6, what: 'two adapters' },
  );
  expectClose(
    scaled,
    base.map((v, i) => v - 1.5 * (ya[i] - v)),
    { relativeToMax: 1e-6, what: 'scaled adapter' },
  );
  x.dispose();
});

test('a merged adapter gives what it gave beside the weights; unmerging gives the base back', async () => {
  const own = await JinaEmbeddings.load(GOLDEN, { device: 'wasm', residence: 'float32' });
  const before = tf.memory().numTensors;
  const [beside, base] = [
    await own.encodeText('a red car', { task: 'code' }),
    await own.encodeText('a red car', { task: null }),
  ];
  await own.model.mergeAdapter('code');
  expectClose(await own.encodeText('a red car', { task: 'code' }), beside, {
    relativeToMax: 1e-5,
    what: 'merged',
  });
  await expect(own.encodeText('a', { task: 'retrieval' })).rejects.toThrow(
    'adapter "code" is merged into the weights',
  );
  await expect(own.model.mergeAdapter('retrieval')).rejects.toThrow('"code" is merged already');
  expect(await own.model.unmergeAdapter()).toBeLessThan(1e-6);
  expectClose(await own.encodeText('a red car', { task: null }), base, {
    relativeToMax: 1e-5,
    what: 'unmerged',
  });
  expect(tf.memory().numTensors).toBe(before);
  own.dispose();
  const packed = await JinaEmbeddings.load(GOLDEN, { device: 'wasm', residence: 'bfloat16' });
  await expect(packed.model.mergeAdapter('code')).rejects.toThrow('load with residence: "float32"');
  packed.dispose();
});

test('the tokenizer is total and deterministic on any string, lone surrogates included', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 60 }), (s) => {
      const ids = jina.tokenizer.encode(s);
      expect(ids.every((id) => Number.isInteger(id) && id >= 0 && id < jina.tokenizer.vocabSize)).toBe(true);
      expect(jina.tokenizer.encode(s)).toEqual(ids);
    }),
    { numRuns: 200 },
  );
  const surrogate = fc.integer({ min: 0xd800, max: 0xdfff }).map((c) => String.fromCharCode(c));
  fc.assert(
    fc.property(fc.array(fc.oneof(surrogate, fc.string()), { maxLength: 8 }), (parts) => {
      expect(() => jina.tokenizer.encode(parts.join(''))).not.toThrow();
    }),
  );
});

test('control-token strings in a text are characters, unless asked otherwise', () => {
  const id = jina.tokenizer.specialId('<|image_pad|>');
  expect(jina.tokenizer.encode('x<|image_pad|>y')).not.toContain(id);
  expect(jina.tokenizer.encode('x<|image_pad|>y', { specialTokens: true })).toEqual([
    ...jina.tokenizer.encode('x'),
    id,
    ...jina.tokenizer.encode('y'),
  ]);
});

test('tensor count is constant over load, encode, task switch and dispose', async () => {
  await startBackend('wasm');
  const before = tf.memory().numTensors;
  const other = await JinaEmbeddings.load(GOLDEN, { device: 'wasm' });
  const loaded = tf.memory().numTensors;
  for (const task of ['retrieval', 'code', null]) {
    await other.encode(['a', { image: raw(1) }], { task });
    await other.encodeText(['a', 'b'], { task, returnMultivector: true });
    expect(tf.memory().numTensors).toBe(loaded);
  }
  await expect(other.encode(['a', { image: new Uint8Array(3) }])).rejects.toThrow();
  expect(tf.memory().numTensors).toBe(loaded);
  const controller = new AbortController();
  const running = other.encodeText(['a', 'bb', 'ccc'], {
    batchSize: 1,
    signal: controller.signal,
    onProgress: () => controller.abort(),
  });
  await expect(running).rejects.toThrow(/abort/i);
  expect(tf.memory().numTensors).toBe(loaded);
  other.dispose();
  expect(tf.memory().numTensors).toBe(before);
  await expect(other.encodeText('a')).rejects.toThrow('disposed');
});
