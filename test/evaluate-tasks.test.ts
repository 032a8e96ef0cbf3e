import { describe, expect, test } from 'vitest';
import { InputError, SourceError } from '../src/errors.ts';
import { evaluateClassification } from '../src/evaluate/classification.ts';
import { evaluateClustering } from '../src/evaluate/clustering.ts';
import { type Encode, type EncodeWish, encodeWith, type Item } from '../src/evaluate/encoder.ts';
import { atSize } from '../src/evaluate/matryoshka.ts';
import { evaluateRetrieval, type RetrievalData } from '../src/evaluate/retrieval.ts';
import { evaluateSimilarity } from '../src/evaluate/similarity.ts';
import { similarityMatrix } from '../src/output/similarity.ts';
import { JinaEmbeddings } from '../src/platform/node.ts';
import { expectClose, gaussian } from './support/close.ts';
import { GOLDEN } from './support/golden.ts';

// A stand-in model: the text is the vector, `1 0 0` or for multi-vectors `1 0 0 / 0 1 0`.
type Call = Omit<EncodeWish, 'onProgress'> & { readonly texts: readonly string[] };
function spelled(): { readonly encode: Encode; readonly calls: Call[] } {
  const calls: Call[] = [];
  return {
    calls,
    encode: async (items, { onProgress, ...wish }) => {
      const texts = items.map((i) => (i as { text: string }).text);
      calls.push({ ...wish, texts });
      onProgress?.(items.length, items.length);
      return texts.map((text) => {
        const rows = text.split(' / ').map((row) => Float32Array.from(row.split(' ').map(Number)));
        return wish.multivector ? rows : rows[0];
      });
    },
  };
}

const text = (text: string): Item => ({ text });
const collection = (
  queries: Record<string, string>,
  documents: Record<string, string>,
  judgments: Record<string, Record<string, number>>,
): RetrievalData => ({
  queries: Object.entries(queries).map(([id, t]) => ({ id, item: text(t) })),
  documents: () => Object.entries(documents).map(([id, t]) => ({ id, item: text(t) })),
  documentCount: Object.keys(documents).length,
  judgments: new Map(Object.entries(judgments).map(([q, of]) => [q, new Map(Object.entries(of))])),
});

describe('retrieval', () => {
  const data = collection(
    { q1: '1 0 0', q2: '0 1 1' },
    { d1: '5 0 0', d2: '0 1 -0.5', d3: '0 3 2', q1: '1 0 0' },
    { q1: { d1: 1 }, q2: { d3: 2, d2: 1 } },
  );

  test('queries and documents get their prompts, once an adapter, whatever the number of sizes', async () => {
    const { encode, calls } = spelled();
    const progress: (readonly [number, number])[] = [];
    const adapters = ['retrieval', null];
    const report = await evaluateRetrieval(data, {
      encode,
      adapters,
      sizes: [3, 2],
      onProgress: (...now) => progress.push(now),
    });
    expect(calls.map(({ task, promptName, texts }) => [task, promptName, texts.length])).toEqual(
      adapters.flatMap((task) => [
        [task, 'query', 2],
        [task, 'passage', 4],
      ]),
    );
    expect(progress[progress.length - 1]).toEqual([12, 12]);
    expect(report.scores.map((s) => [s.adapter, s.size])).toEqual(
      adapters.flatMap((a) => [
        [a, 2],
        [a, 3],
      ]),
    );
    // At 2 values d2 is as good as d3 for q2, and the larger id comes first; the query's own text is no document for it.
    for (const { metrics } of report.scores) {
      expect(metrics.mrr).toBe(1);
      expect(metrics['ndcg@10']).toBe(1);
    }
  });

  test('a size sees only its values', async () => {
    const blind = collection({ q: '1 0 9' }, { a: '0 0 1', b: '1 0 0' }, { q: { a: 1 } });
    const { scores } = await evaluateRetrieval(blind, {
      encode: spelled().encode,
      adapters: [null],
      sizes: [2, 3],
    });
    expect(scores.map((s) => s.metrics.mrr)).toEqual([0.5, 1]);
  });

  test('multi-vectors are compared by MaxSim', async () => {
    const late = collection(
      { q: '1 0 / 0 1' },
      { both: '0.8 0 / 0 0.8', one: '1 0 / 1 0', far: '-1 0' },
      { q: { both: 1 } },
    );
    const { encode, calls } = spelled();
    const report = await evaluateRetrieval(
      late,
      { encode, adapters: [null], sizes: [1] },
      { multivector: true },
    );
    expect(calls.every((c) => c.multivector)).toBe(true);
    expect(report.multivector).toBe(true);
    expect(report.scores).toMatchObject([{ size: 2, metrics: { mrr: 1 } }]);
  });

  test('documents are embedded a group at a time, and ranked as if they were together', async () => {
    const vectors = Array.from({ length: 600 }, (_, i) => [...gaussian(4, i)].join(' '));
    const documents = Object.fromEntries(vectors.map((v, i) => [`d${i}`, v]));
    const query = [...gaussian(4, 9999)];
    const cosine = (v: string) => {
      const unit = atSize(Float32Array.from(v.split(' ').map(Number)), 4);
      return unit.reduce((sum, x, d) => sum + x * query[d], 0);
    };
    const order = vectors.map((_, i) => i).sort((i, j) => cosine(vectors[j]) - cosine(vectors[i]));
    const { encode, calls } = spelled();
    for (const rank of [1, 7, 300]) {
      const large = collection({ q: query.join(' ') }, documents, { q: { [`d${order[rank - 1]}`]: 1 } });
      const { scores } = await evaluateRetrieval(large, { encode, adapters: [null], sizes: [4] });
      expect(scores[0].metrics.mrr).toBeCloseTo(1 / rank, 12);
    }
    expect(Math.max(...calls.map((c) => c.texts.length))).toBe(256);
    const far = collection({ q: query.join(' ') }, documents, { q: { [`d${order[299]}`]: 1 } });
    const shallow = await evaluateRetrieval(far, { encode, adapters: [null], sizes: [4] }, { depth: 100 });
    expect(shallow.scores[0].metrics.mrr).toBe(0);
  });

  test('queries without judgments or without a relevant document are counted and left out', async () => {
    const { encode, calls } = spelled();
    const some = collection(
      { q1: '1 0', q2: '0 1', q3: '1 1', q4: '2 2' },
      { d1: '1 0' },
      { q1: { d1: 1, gone: 1 }, q2: { d1: 0 }, q3: { d1: -1 } },
    );
    const { counts, scores } = await evaluateRetrieval(some, { encode, adapters: [null], sizes: [2] });
    expect(counts).toEqual({
      queries: 1,
      documents: 1,
      queriesWithoutRelevant: 2,
      queriesWithoutJudgments: 1,
    });
    expect(scores[0].metrics['recall@10']).toBe(0.5);
    expect(calls[0].texts).toEqual(['1 0']);
  });

  test.each([
    [
      'no relevant document',
      collection({ q: '1' }, { d: '1' }, { q: { d: 0 } }),
      'of 1 queries 1 have judgments',
    ],
    ['no queries', collection({}, { d: '1' }, {}), 'no query to evaluate'],
    ['no documents', collection({ q: '1' }, {}, { q: { d: 1 } }), 'the corpus is empty'],
  ])('%s', async (_, bad, message) => {
    const run = { encode: spelled().encode, adapters: [null], sizes: [1] };
    await expect(evaluateRetrieval(bad, run)).rejects.toThrow(InputError);
    await expect(evaluateRetrieval(bad, run)).rejects.toThrow(message);
  });

  test('an abort ends it between two documents, with its reason', async () => {
    const controller = new AbortController();
    const { encode } = spelled();
    const run = {
      adapters: [null],
      sizes: [3],
      signal: controller.signal,
      encode: (async (items, wish) => {
        const embedded = await encode(items, wish);
        if (wish.promptName === 'passage') controller.abort(new Error('enough'));
        return embedded;
      }) as Encode,
    };
    await expect(evaluateRetrieval(data, run)).rejects.toThrow('enough');
  });

  test('no adapters and no sizes are mistakes', async () => {
    const { encode } = spelled();
    await expect(evaluateRetrieval(data, { encode, adapters: [], sizes: [1] })).rejects.toThrow('0 adapters');
    await expect(evaluateRetrieval(data, { encode, adapters: [null], sizes: [] })).rejects.toThrow('0 sizes');
  });
});

describe('the other tasks', () => {
  test('similarity: cosines that follow the scores correlate fully, at the size where they do', async () => {
    const pairs = [0, 0.4, 0.8, 1.2].map((angle, i) => ({
      a: text('1 0 0'),
      b: text(`${Math.cos(angle)} ${Math.sin(angle)} ${i % 2 ? 9 : 0}`),
      score: 10 * Math.cos(angle),
    }));
    const { encode, calls } = spelled();
    const { scores } = await evaluateSimilarity(pairs, { encode, adapters: [null], sizes: [2, 3] });
    expect(scores[0].metrics.pearson).toBeCloseTo(1, 6);
    expect(scores[0].metrics.spearman).toBeCloseTo(1, 12);
    expect(scores[1].metrics.spearman).toBeLessThan(0.9);
    expect(calls.map((c) => c.promptName)).toEqual(['query', 'query']);
    await expect(
      evaluateSimilarity(pairs.slice(1, 2), { encode, adapters: [null], sizes: [2] }),
    ).rejects.toThrow('there are 1');
  });

  const labelled = (n: number, seed: number) =>
    Array.from({ length: n }, (_, i) => {
      const label = ['x', 'y', 'z'][i % 3];
      const noise = gaussian(3, seed + i);
      const v = [0, 1, 2].map((d) => (d === i % 3 ? 3 : 0) + 0.3 * noise[d]);
      return { item: text(v.join(' ')), label };
    });

  test('classification and clustering: perfect where labels are directions, worse where a size hides one', async () => {
    const { encode } = spelled();
    const run = { encode, adapters: ['a'], sizes: [1, 3] };
    const data = { train: labelled(30, 1), test: labelled(15, 500) };
    const classes = await evaluateClassification(data, run);
    expect(classes.scores[1].metrics).toEqual({ accuracy: 1, macroF1: 1, knnAccuracy: 1, knnMacroF1: 1 });
    expect(classes.scores[0].metrics.accuracy).toBeLessThan(0.9);
    expect(classes.counts).toEqual({ train: 30, test: 15, labels: 3, neighbours: 5 });
    const clusters = await evaluateClustering(labelled(30, 1), run);
    expect(clusters.scores[1].metrics.vMeasure).toBeCloseTo(1, 12);
    expect(clusters.scores[0].metrics.vMeasure).toBeLessThan(0.9);
  });

  test('labels that were never seen in training are named', async () => {
    const { encode, calls } = spelled();
    const data = { train: labelled(6, 1), test: [{ item: text('1 0 0'), label: 'ω' }] };
    const failed = evaluateClassification(data, { encode, adapters: [null], sizes: [3] });
    await expect(failed).rejects.toThrow('1 labels of the test items never occur in training');
    await expect(failed).rejects.toThrow('"ω"');
    expect(calls).toEqual([]);
  });

  test('what cannot be evaluated is told with its file before anything is embedded', async () => {
    const { encode, calls } = spelled();
    const run = { encode, adapters: [null], sizes: [3] };
    const placed = (label: string, line: number, file = 'f.jsonl') => ({
      item: text('1 0 0'),
      label,
      where: `${file}:${line}`,
    });
    const pair = (score: number, line: number) => ({
      a: text('1 0 0'),
      b: text('0 1 0'),
      score,
      where: `f.csv:${line}`,
    });
    const [x, y] = [placed('x', 1), placed('y', 2)];
    const test = [x, placed('v', 5, 't.jsonl'), placed('w', 6, 't.jsonl'), placed('v', 7, 't.jsonl')];
    const told: readonly (readonly [Promise<unknown>, string])[] = [
      [evaluateSimilarity([pair(1, 2)], run), 'f.csv:2: a correlation needs two pairs or more, there are 1'],
      [evaluateSimilarity([pair(4, 2), pair(4, 3)], run), 'f.csv: all 2 pairs have the score 4'],
      [
        evaluateClassification({ train: [x, x, x], test }, run),
        'f.jsonl: all 3 training items have the label "x"',
      ],
      [
        evaluateClassification({ train: [x, y], test }, run),
        'could not be predicted: "v" (t.jsonl:5), "w" (t.jsonl:6); add',
      ],
      [evaluateClustering([x, x], run), 'f.jsonl: all 2 items have the label "x"'],
      [evaluateClustering([x, y], run, { clusters: 3 }), 'f.jsonl: cannot form 3 clusters of 2 items'],
    ];
    for (const [attempt, message] of told) {
      await expect(attempt).rejects.toThrow(InputError);
      await expect(attempt).rejects.toThrow(message);
    }
    expect(calls).toEqual([]);
  });

  test('too many clusters are refused before anything is embedded', async () => {
    const { encode, calls } = spelled();
    const run = { encode, adapters: [null], sizes: [3] };
    await expect(evaluateClustering(labelled(3, 1), run, { clusters: 4 })).rejects.toThrow(InputError);
    await expect(evaluateClustering([], run)).rejects.toThrow('0 clusters of 0 items');
    expect(calls).toEqual([]);
  });
});

test('an image that is missing or broken is told with its file and line', async () => {
  using model = await JinaEmbeddings.load(GOLDEN, { device: 'wasm' });
  const run = { encode: encodeWith(model), adapters: [null], sizes: [16] };
  const items = ['a text', { image: `${GOLDEN}images/small.png` }, { image: 'gone.png' }].map((item, i) => ({
    item: typeof item === 'string' ? text(item) : item,
    label: `${i % 2}`,
    where: `f.jsonl:${2 * i + 1}`,
  }));
  const missing = evaluateClustering(items, run);
  await expect(missing).rejects.toThrow(SourceError);
  await expect(missing).rejects.toThrow(/^f\.jsonl:5: \S*gone\.png: there is no such file/);
  const broken = items.with(2, { ...items[2], item: { image: `${GOLDEN}config.json` } });
  await expect(evaluateClassification({ train: broken, test: items.slice(0, 1) }, run)).rejects.toThrow(
    /^f\.jsonl:5: \S*config\.json/,
  );
  const pairs = items.map(({ item, where }, i) => ({ a: text('a'), b: item, score: i, where }));
  await expect(evaluateSimilarity(pairs, run)).rejects.toThrow(/^f\.jsonl:5: /);
  const documents = items.map((item, i) => ({ ...item, id: `d${i}` }));
  const data = {
    queries: [{ id: 'q', item: text('a') }],
    documents: () => documents,
    documentCount: 3,
    judgments: new Map([['q', new Map([['d0', 1]])]]),
  };
  await expect(evaluateRetrieval(data, run)).rejects.toThrow(/^f\.jsonl:5: /);
});

test('on a real checkpoint a size is what truncateDim gives, and none is the backbone', async () => {
  using model = await JinaEmbeddings.load(GOLDEN, { device: 'wasm' });
  const words = ['a red apple', 'a sailing boat', 'yesterday', 'the house'];
  const encode = encodeWith(model);
  for (const task of ['text-matching', null]) {
    const full = await encode(words.map(text), { task, promptName: 'query' });
    for (const size of [16, 32, 64]) {
      const expected = await model.encodeText(words, { task, truncateDim: size });
      full.forEach((vector, i) => {
        const found = atSize(vector as Float32Array, size);
        expectClose(found, expected[i], { relativeToMax: 1e-6, what: `${task} at ${size}` });
      });
    }
  }
  const pairs = words.flatMap((a, i) => words.map((b, j) => ({ a: text(a), b: text(b), score: i * 4 + j })));
  const embedded = await model.encodeText(words, { task: 'code' });
  const cosines = similarityMatrix(embedded, embedded);
  const truth = pairs.map((p, i) => ({ ...p, score: cosines[Math.floor(i / 4)][i % 4] }));
  const { scores } = await evaluateSimilarity(truth, { encode, adapters: ['code', null], sizes: [64] });
  expect(scores[0].metrics.pearson).toBeCloseTo(1, 5);
  expect(scores[1].metrics.pearson).toBeLessThan(1 - 1e-6);
});
