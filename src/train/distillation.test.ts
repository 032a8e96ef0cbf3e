import { expect, test } from 'vitest';
import { expectNoLeak, onEveryBackend } from '../../test/support/backends.ts';
import { gaussian } from '../../test/support/close.ts';
import { randomModel } from '../../test/support/random-model.ts';
import { tinyConfig, tinyPicture, tinyText } from '../../test/support/tiny-inputs.ts';
import { batchOf, type Example } from './examples.ts';
import { checkSameKind, parseExample } from './records.ts';
import { sizesToLearn } from './teacher-records.ts';
import { trainAdapter } from './train-adapter.ts';

const lists: readonly Example[] = [
  { query: tinyText(4), documents: [tinyText(3), tinyPicture()], scores: [0.9, 0.1] },
  { query: tinyText(5), documents: [tinyText(3), tinyText(6), tinyText(2)], scores: [0.2, 0.1, 0.7] },
  { query: tinyPicture(), documents: [tinyText(4), tinyText(3)], scores: [-0.3, 0.4] },
];
const vectors: readonly Example[] = [tinyText(4), tinyText(7), tinyPicture()].map((input, i) => ({
  input,
  vector: gaussian(24, i + 1),
}));

onEveryBackend(() => {
  test.each([
    ['scores, of single and multi-vectors', lists, { multi: 0.5, sizes: [16, 32], teacherTemperature: 0.2 }],
    ['vectors at two sizes', vectors, { sizes: [16, 24], weights: [1, 2] }],
    ['vectors in parts', vectors, { loss: 'distillation', chunk: 2 }],
  ] as const)("a LoRA learns a teacher's %s", async (_, data, more) => {
    using model = randomModel(tinyConfig);
    await expectNoLeak(async () => {
      const losses: number[] = [];
      const { trainable } = await trainAdapter(model, data, {
        ...more,
        rank: 4,
        epochs: 12,
        batchSize: 3,
        rate: 2e-2,
        temperature: 0.2,
        onStep: ({ loss }) => {
          losses.push(loss);
        },
      });
      expect(losses).toHaveLength(12);
      expect(losses[11]).toBeLessThan(0.7 * losses[0]);
      trainable.dispose();
    });
  });
});

test('examples that a loss cannot learn from are refused', () => {
  const pair = { anchor: tinyText(3), positive: tinyText(4) };
  expect(() => batchOf([pair, pair], { loss: 'distillation' })).toThrow(
    /of 2 examples 0 have scores, 0 a vector, 2 neither/,
  );
  expect(() => batchOf([...lists, vectors[0]])).toThrow(/of 4 examples 3 have scores, 1 a vector, 0 neither/);
  expect(() => batchOf(vectors, { loss: 'infoNce' })).toThrow(
    /only the loss distillation learns, and infoNce was asked/,
  );
  expect(() => batchOf([{ query: tinyText(3), documents: [tinyText(2)], scores: [1] }])).toThrow(
    /two documents at least/,
  );
  expect(() => batchOf(vectors, { multi: 0.5 })).toThrow(/multi-vectors were asked for/);
});

const parse = (...lines: readonly object[]) => {
  const examples = lines.map((record, i) =>
    parseExample({ line: JSON.stringify(record), where: `taught.jsonl:${i + 1}` }, (path) => path),
  );
  checkSameKind(examples);
  return examples;
};

test('lines with scores and lines with a vector', () => {
  expect(parse({ query: 'a', documents: ['b', { image: 'c.png' }], scores: [1, -2.5] })).toEqual([
    {
      query: { text: 'a' },
      documents: [{ text: 'b' }, { image: 'c.png' }],
      scores: [1, -2.5],
      where: 'taught.jsonl:1',
    },
  ]);
  expect(parse({ image: 'c.png', vector: [1, 0.5] })).toEqual([
    { item: { image: 'c.png' }, vector: Float32Array.of(1, 0.5), where: 'taught.jsonl:1' },
  ]);
});

const good = { query: 'a', documents: ['b', 'c'], scores: [1, 2] };
test.each([
  ['fewer scores', { ...good, scores: [1] }, /:1: 1 "scores" for 2 "documents"/],
  ['no scores', { ...good, scores: undefined }, /:1: "scores" must be a list of numbers/],
  ['a score that is null', { ...good, scores: [1, null] }, /:1: "scores" .* value 2 is null/],
  ['no documents', { ...good, documents: undefined }, /:1: "documents" must be a list of two or more/],
  [
    'one document',
    { ...good, documents: ['b'], scores: [1] },
    /:1: "documents" must be a list of two or more/,
  ],
  ['a document that is none', { ...good, documents: ['b', 3] }, /:1: "documents" must be a text/],
  ['no query', { ...good, query: undefined }, /:1: no "query"/],
  ['a vector of words', { text: 'a', vector: ['x'] }, /:1: "vector" .* value 1 is x/],
  ['a vector too large for float32', { text: 'a', vector: [1, 1e39] }, /:1: "vector" .* value 2 is 1e\+39/],
  ['a vector without direction', { text: 'a', vector: [0, 0] }, /:1: "vector" must have a direction/],
  ['an empty vector', { text: 'a', vector: [] }, /:1: "vector" must have a direction/],
  ['a vector of nothing', { vector: [1] }, /:1: neither "text" nor "image"/],
])('%s', (_, record, message) => {
  expect(() => parse(record)).toThrow(message);
});

test('lines of several kinds', () => {
  const vector = { text: 'a', vector: [1, 2] };
  expect(() => parse(vector, vector, { text: 'b', vector: [1] })).toThrow(
    /:3: a "vector" of 1 values, and the first line has a "vector" of 2 values/,
  );
  expect(() => parse(good, vector)).toThrow(/:2: a "vector" of 2 values, and the first line has a query/);
  expect(() => parse(good, { anchor: 'a', positive: 'b' })).toThrow(/:2: no teacher's "scores" or "vector"/);
});

test("sizes that a teacher's vectors teach", () => {
  const [known, width] = [[16, 32, 64], 64];
  const ofLength = (length: number) => parse({ text: 'a', vector: new Array(length).fill(1) });
  expect(sizesToLearn(ofLength(40), { width, known })).toEqual([16, 32, 40]);
  expect(sizesToLearn(ofLength(64), { width, known })).toEqual([16, 32, 64]);
  expect(sizesToLearn(ofLength(40), { width, known, asked: [16] })).toEqual([16]);
  expect(sizesToLearn(parse(good), { width, known })).toEqual(known);
  expect(() => sizesToLearn(ofLength(40), { width, known, asked: [64] })).toThrow(
    /taught\.jsonl:1: a "vector" of 40 values, too few for the size 64 asked/,
  );
  expect(() => sizesToLearn(ofLength(65), { width, known })).toThrow(
    /taught\.jsonl:1: a "vector" of 65 values, and the model's vectors have 64/,
  );
});
