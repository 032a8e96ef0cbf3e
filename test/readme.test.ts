import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test, vi } from 'vitest';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const readme = readFileSync(join(ROOT, 'README.md'), 'utf8');
const snippets = [...readme.matchAll(/```ts\n([\s\S]*?)```/g)].map((m) => m[1]);
const folder = mkdtempSync(join(ROOT, 'test', 'readme-snippets-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test('the README has snippets', () => expect(snippets.length).toBeGreaterThanOrEqual(3));

const withSources = (code: string): string =>
  code
    .replace("'jina-embeddings'", "'../../src/platform/node.ts'")
    .replace("'jina-embeddings/train'", "'../../src/train/index.ts'")
    .replace("'jina-embeddings/layers'", "'../../src/layers-api/index.ts'");

// Each snippet is a module that runs as it stands, with the package's name pointing at the sources.
test.each(snippets.map((code, i) => [i + 1, code] as const))('snippet %d runs', async (i, code) => {
  const file = join(folder, `snippet-${i}.ts`);
  writeFileSync(file, withSources(code));
  const printed = vi.spyOn(console, 'log').mockImplementation(() => {});
  try {
    await import(/* @vite-ignore */ file);
    expect(printed).toHaveBeenCalled();
  } finally {
    printed.mockRestore();
  }
});

// Excerpts begin with the file they are from, and are in it word for word.
const excerpts = [...readme.matchAll(/```typescript\n\/\/ (\S+)\n([\s\S]*?)```/g)].map(
  (m) => [m[1], m[2]] as const,
);

test('every excerpt says where it is from', () => {
  expect(excerpts.length).toBe(readme.split('```typescript\n').length - 1);
  expect(excerpts.length).toBeGreaterThan(0);
});

test.each(excerpts)('the excerpt of %s is in it', (path, code) =>
  expect(readFileSync(join(ROOT, path), 'utf8')).toContain(code),
);

test('every file and folder that the README names is there', async () => {
  const { existsSync } = await import('node:fs');
  const named = [...readme.matchAll(/`((?:src|kernels|weights|test|bench)\/[\w./-]*)`/g)].map((m) => m[1]);
  expect(named.length).toBeGreaterThan(5);
  expect(named.filter((path) => !existsSync(join(ROOT, path)))).toEqual([]);
});

test('every script that the README names is in package.json', () => {
  const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
  const named = [...readme.matchAll(/npm run ([\w:-]+)/g)].map((m) => m[1]);
  expect(named.filter((name) => !(name in scripts))).toEqual([]);
});
