import { spawn } from 'node:child_process';
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

// `evaluate` as a user has it: another process, its streams, its exit code.

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const MODEL = ['--model', 'test/golden', '--device', 'wasm'];

type Ran = { readonly code: number | null; readonly out: string; readonly err: string };

const start = (args: readonly string[]) =>
  spawn(process.execPath, ['--import', 'tsx', 'src/cli/main.ts', 'evaluate', ...args], {
    cwd: ROOT,
    env: { ...process.env, JINA_EMBEDDINGS_THREADS: '1', NO_COLOR: '' },
  });

function finished(child: ReturnType<typeof start>): Promise<Ran> {
  const text = { out: '', err: '' };
  child.stdout.on('data', (chunk) => {
    text.out += chunk;
  });
  child.stderr.on('data', (chunk) => {
    text.err += chunk;
  });
  return new Promise((resolve) => child.on('close', (code) => resolve({ code, ...text })));
}
const run = (...args: readonly string[]): Promise<Ran> => finished(start(args));

type Printed = {
  readonly counts: Record<string, number>;
  readonly multivector: boolean;
  readonly scores: readonly { adapter: string; size: number; metrics: Record<string, number | null> }[];
};
async function evaluated(...args: readonly string[]): Promise<Printed> {
  const { code, out, err } = await run(...args, ...MODEL);
  expect({ code, err }).toEqual({ code: 0, err: '' });
  return JSON.parse(out) as Printed;
}

const jsonl = (rows: readonly unknown[]): string => rows.map((r) => `${JSON.stringify(r)}\n`).join('');
const BEASTS = ['a grey cat', 'two old dogs', 'the brown horse'];
const THINGS = ['8 bolts', '16 screws', '99 nails'];

let folder: string;
const file = (name: string): string => join(folder, name);
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cli-evaluate-'));
  await mkdir(file('qrels'));
  await cp(join(ROOT, 'test/golden/images/small.png'), file('small.png'));
  await writeFile(
    file('corpus.jsonl'),
    jsonl([
      ...[...BEASTS, ...THINGS].map((text, i) => ({ _id: `d${i}`, title: '', text, metadata: { any: 1 } })),
      { _id: 'picture', image: 'small.png' },
    ]),
  );
  await writeFile(
    file('queries.jsonl'),
    jsonl([
      { _id: 'q0', text: BEASTS[0] },
      { _id: 'q1', text: 'unused' },
    ]),
  );
  await writeFile(file('qrels/test.tsv'), 'query-id\tcorpus-id\tscore\nq0\td0\t1\n');
  await writeFile(file('qrels/gone.tsv'), 'q0\td0\t1\nq0\tx9\t1\n');
  const labelled = [
    ...BEASTS.map((text) => ({ text, label: 'beast' })),
    ...THINGS.map((text) => ({ text, label: 'thing' })),
  ];
  await writeFile(file('items.jsonl'), jsonl(labelled));
  await writeFile(file('odd.jsonl'), jsonl([{ text: 'x', label: 'odd' }]));
  await writeFile(file('broken.jsonl'), `${jsonl(labelled.slice(0, 1))}\n{"text": "cut of\n`);
  await writeFile(file('pairs.csv'), `score,a,b\n5,"${BEASTS[0]}","${BEASTS[0]}"\n1,a,8 bolts\n0,b,"c, d"\n`);
  await writeFile(file('empty.jsonl'), '\n');
  await writeFile(file('head.csv'), 'a,b,score\n');
  await writeFile(
    file('lost.jsonl'),
    jsonl([...labelled.slice(2, 4), { image: 'gone.png', label: 'thing' }]),
  );
});
afterAll(() => rm(folder, { recursive: true, force: true }));

test('retrieval: every adapter and none, at every size, images among the documents', async () => {
  const { counts, scores } = await evaluated('retrieval', folder);
  expect(counts).toMatchObject({ queries: 1, documents: 7, queriesWithoutJudgments: 1 });
  expect(scores.map((s) => `${s.adapter} ${s.size}`)).toEqual(
    ['retrieval', 'text-matching', 'code', 'none'].flatMap((a) => [16, 32, 64].map((size) => `${a} ${size}`)),
  );
  // Text matching gives both sides the same prefix: the query is its document's twin.
  const twins = scores.filter((s) => s.adapter === 'text-matching');
  for (const { metrics } of twins)
    expect(metrics).toMatchObject({ 'ndcg@10': 1, 'recall@1': 1, mrr: 1, map: 1 });
});

test('retrieval with multi-vectors, one adapter, another split', async () => {
  const args = ['retrieval', folder, '--multivector', '--task', 'code', '--split', 'gone'];
  const { multivector, scores } = await evaluated(...args, '--allow-missing');
  expect(multivector).toBe(true);
  expect(scores.map((s) => [s.adapter, s.size])).toEqual([['code', 16]]);
  expect(scores[0].metrics['recall@100']).toBe(0.5); // the document that is missing is never found
  const { code, err } = await run(...args, ...MODEL);
  expect(code).toBe(1);
  expect(err).toContain(
    `1 judgments name a document that the corpus does not have: x9 (${file('qrels/gone.tsv')}:2)`,
  );
});

test('similarity, classification and clustering', async () => {
  const one = ['--task', 'text-matching', '--dim', '64', '--dim', '16'];
  const pairs = await evaluated('similarity', file('pairs.csv'), ...one, '--html', file('page.html'));
  expect(await readFile(file('page.html'), 'utf8')).toContain('<svg');
  expect(pairs.scores.map((s) => s.size)).toEqual([16, 64]);
  for (const { metrics } of pairs.scores) expect(metrics.pearson).toBeGreaterThan(0.5);
  const classes = await evaluated(
    'classification',
    file('items.jsonl'),
    file('items.jsonl'),
    ...one,
    '--neighbours',
    '1',
  );
  for (const { metrics } of classes.scores) expect(metrics).toMatchObject({ knnAccuracy: 1, knnMacroF1: 1 });
  const clusters = await evaluated(
    'clustering',
    file('items.jsonl'),
    ...one,
    '--clusters',
    '6',
    '--seed',
    '3',
  );
  for (const { metrics } of clusters.scores) expect(metrics.homogeneity).toBe(1);
});

test('help names the four and has examples', async () => {
  const { code, out } = await run('--help');
  expect(code).toBe(0);
  for (const name of ['retrieval', 'similarity', 'classification', 'clustering']) {
    expect(out).toMatch(new RegExp(`^  ${name} `, 'm'));
    expect((await run(name, '--help')).out).toContain('--task <name>');
  }
  expect(out).toContain('Examples:');
});

describe('mistakes are told in one line', () => {
  test.concurrent.each<[number, () => readonly string[], () => string]>([
    [2, () => ['retrieval'], () => "missing required argument 'folder'"],
    [2, () => ['retrieval', folder, '--txt'], () => "unknown option '--txt'"],
    [
      2,
      () => ['retrieval', folder, '--multivector', '--dim', '16'],
      () => 'leave out --dim or --multivector',
    ],
    [
      2,
      () => ['clustering', 'x', '--dim', 'two'],
      () => "argument 'two' is invalid. Expected a whole number",
    ],
    [1, () => ['retrieval', file('nowhere')], () => `${file('nowhere/corpus.jsonl')}: there is no such file`],
    [1, () => ['retrieval', folder, '--split', 'dev'], () => 'dev.tsv: there is no such file'],
    [
      1,
      () => ['retrieval', folder, '--task', 'x', ...MODEL],
      () => 'unknown task "x"; test/golden has retrieval',
    ],
    [1, () => ['retrieval', folder, '--dim', '17', ...MODEL], () => 'truncateDim 17 is not a size'],
    [1, () => ['clustering', file('broken.jsonl')], () => `${file('broken.jsonl')}:3: not JSON`],
    [1, () => ['similarity', file('items.jsonl')], () => `${file('items.jsonl')}:1: no "a"`],
    [1, () => ['similarity', file('empty.jsonl'), ...MODEL], () => `${file('empty.jsonl')}: no pairs`],
    [1, () => ['similarity', file('head.csv')], () => `${file('head.csv')}: no pairs`],
    [1, () => ['clustering', file('empty.jsonl')], () => `${file('empty.jsonl')}: no items`],
    [
      1,
      () => ['classification', file('items.jsonl'), file('empty.jsonl')],
      () => `${file('empty.jsonl')}: no items`,
    ],
    [
      1,
      () => ['classification', file('odd.jsonl'), file('odd.jsonl')],
      () => `${file('odd.jsonl')}: all 1 training items have the label "odd"`,
    ],
    [
      1,
      () => ['clustering', file('odd.jsonl')],
      () => `${file('odd.jsonl')}: all 1 items have the label "odd"`,
    ],
    [
      1,
      () => ['clustering', file('lost.jsonl'), ...MODEL],
      () => `${file('lost.jsonl')}:3: ${file('gone.png')}: there is no such file`,
    ],
    [
      1,
      () => ['classification', file('items.jsonl'), file('odd.jsonl'), ...MODEL],
      () => `could not be predicted: "odd" (${file('odd.jsonl')}:1)`,
    ],
  ])('exit code %i: %s', async (code, args, message) => {
    const ran = await run(...args());
    expect(ran).toMatchObject({ code, out: '' });
    expect(ran.err).toMatch(/^error: [^\n]*\n$/);
    expect(ran.err).toContain(message());
  });
});

test('Ctrl-C ends it at once, with nothing on stdout', async () => {
  const many = Array.from({ length: 20_000 }, (_, i) => ({ text: `text number ${i}`, label: i % 50 }));
  await writeFile(file('many.jsonl'), jsonl(many));
  const child = start(['clustering', file('many.jsonl'), ...MODEL]);
  const ran = finished(child);
  await new Promise((resolve) => setTimeout(resolve, 5000));
  const begin = performance.now();
  child.kill('SIGINT');
  expect(await ran).toEqual({ code: 130, out: '', err: 'error: interrupted\n' });
  expect(performance.now() - begin).toBeLessThan(5000);
});
