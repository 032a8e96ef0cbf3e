import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { beforeAll, expect, test } from 'vitest';

// The model and the pictures that ship, as `npm run demo -- QUERY` searches them. Without trained weights the command fails,
// and so does this: nothing is skipped.

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** A query, and the names of the pictures that answer it. */
const QUERIES: readonly (readonly [query: string, right: readonly string[]])[] = [
  ['a red apple', ['red apple']],
  ['una manzana roja', ['red apple']],
  ['une voiture rouge', ['automobile', 'racing car']], // the racing car is the red one
  ['дом', ['house', 'house with garden']],
  ['weights/demo/apple.png', ['red apple', 'green apple']], // drawn in a style of its own
];
const AMONG = 5; // of 1,652 pictures; by chance, one of two names would be there once in 165 times

type Result = {
  readonly query: string;
  readonly found: readonly { readonly name: string; readonly score: number }[];
};
let results: readonly Result[];

beforeAll(() => {
  const command = ['--import', 'tsx', 'src/cli/main.ts', 'demo', '--device', 'wasm', '--json'];
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [...command, ...QUERIES.map(([query]) => query)],
    { cwd: ROOT, encoding: 'utf8', env: { ...process.env, JINA_EMBEDDINGS_THREADS: '1', NO_COLOR: '' } },
  );
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  results = JSON.parse(stdout).results;
});

test.each(QUERIES)(`"%s" finds its picture among the first ${AMONG}`, (query, right) => {
  const result = results.find((r) => r.query === query);
  const names = result?.found.slice(0, AMONG).map(({ name }) => name) ?? [];
  expect(names.length).toBe(AMONG);
  expect(
    names.filter((name) => right.includes(name)),
    `"${query}" found ${names.join(', ')}, expected ${right.join(' or ')}`,
  ).not.toEqual([]);
});

test('every query is answered, in the order given, best pictures first', () => {
  expect(results.map(({ query }) => query)).toEqual(QUERIES.map(([query]) => query));
  for (const { found } of results) {
    const scores = found.map(({ score }) => score);
    expect(scores).toEqual([...scores].sort((a, b) => b - a));
  }
});
