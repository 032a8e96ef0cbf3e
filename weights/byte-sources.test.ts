import { mkdir, mkdtemp, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CheckpointError, SourceError } from '../src/errors.ts';
import { openFileSource, openFolder } from '../src/platform/node-files.ts';
import type { FileTree } from './byte-source.ts';
import { memorySource, memoryTree } from './memory-source.ts';
import { readJson, readJsonIfThere, readText } from './read-text.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sources-'));
  await mkdir(join(folder, 'tree/adapters/code'), { recursive: true });
  await writeFile(join(folder, 'tree/a.json'), '\uFEFF{"a": 1}');
  await writeFile(join(folder, 'tree/adapters/code/b.bin'), new Uint8Array([1, 2, 3, 4, 5]));
  await writeFile(join(folder, 'outside.txt'), 'secret');
  await symlink(join(folder, 'outside.txt'), join(folder, 'tree/link.txt'));
});
afterAll(() => rm(folder, { recursive: true }));

const inMemory = () =>
  memoryTree('tree', {
    'a.json': '\uFEFF{"a": 1}',
    'adapters/code/b.bin': Buffer.from([1, 2, 3, 4, 5]),
    'link.txt': 'secret',
  });

describe.each([
  ['memory', async () => inMemory()],
  ['folder', () => openFolder(join(folder, 'tree'))],
])('a tree in %s', (_, openTree) => {
  let tree: FileTree;
  beforeAll(async () => {
    tree = await openTree();
  });
  afterAll(() => tree.close());

  test('opens, reads ranges, lists', async () => {
    const source = await tree.open('adapters/code/b.bin');
    expect(source?.size).toBe(5);
    expect([...(await source!.read(1, 3))]).toEqual([2, 3, 4]);
    expect((await source!.read(5, 0)).length).toBe(0);
    await source!.close();
    expect(await tree.list()).toEqual(['a.json', 'adapters/code/b.bin', 'link.txt']);
    expect(await tree.list('adapters')).toEqual(['adapters/code/b.bin']);
    expect(await tree.list('nothing')).toEqual([]);
    expect(await readText(tree, 'link.txt')).toBe('secret');
  });

  test('what is read is the reader’s own copy', async () => {
    const source = await tree.open('adapters/code/b.bin');
    (await source!.read(0, 5)).fill(9);
    expect([...(await source!.read(0, 2))]).toEqual([1, 2]);
    await source!.close();
  });

  test('an absent file is null, and names it when it is needed', async () => {
    expect(await tree.open('c.json')).toBeNull();
    expect(await tree.open('a.json/c.json')).toBeNull();
    expect(await readJsonIfThere(tree, 'c.json')).toBeUndefined();
    await expect(readJson(tree, 'c.json')).rejects.toThrow(/c\.json is missing; download/);
    expect(await readJson(tree, 'a.json')).toEqual({ a: 1 });
  });

  test.each(['../outside.txt', '/etc/passwd', 'a/../../outside.txt', '', 'a\\b', './a.json', 'a//b', 'a\0'])(
    'refuses the path %j',
    async (path) => {
      await expect(tree.open(path)).rejects.toThrow(SourceError);
      await expect(tree.open(path)).rejects.toThrow(/must stay inside this folder/);
    },
  );

  test.each([
    [-1, 2],
    [0, 6],
    [5, 1],
    [0.5, 1],
    [0, Number.NaN],
    [Number.MAX_SAFE_INTEGER, 1],
  ])('refuses the range %d, %d', async (offset, length) => {
    const source = await tree.open('adapters/code/b.bin');
    await expect(source!.read(offset, length)).rejects.toThrow(
      new RegExp(`b.bin: cannot read ${length} bytes at offset ${offset}: the file has 5 bytes`),
    );
    await source!.close();
  });

  test('stops when aborted', async () => {
    const source = await tree.open('a.json');
    const reason = new Error('enough');
    await expect(source!.read(0, 1, AbortSignal.abort(reason))).rejects.toBe(reason);
    await expect(tree.open('a.json', AbortSignal.abort(reason))).rejects.toBe(reason);
    await expect(readText(tree, 'a.json', { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    await source!.close();
  });
});

describe('files on disk', () => {
  test('a file that becomes shorter while open', async () => {
    const path = join(folder, 'shrinks.bin');
    await writeFile(path, new Uint8Array(100));
    const source = await openFileSource(path);
    await truncate(path, 40);
    await expect(source.read(10, 50)).rejects.toThrow(SourceError);
    await expect(source.read(10, 50)).rejects.toThrow(
      /shrinks\.bin: reading 50 bytes at offset 10 came short after 30: the file had 100 bytes .* become shorter/,
    );
    await source.close();
  });

  test('absent, or of the wrong kind', async () => {
    await expect(openFileSource(join(folder, 'no.bin'))).rejects.toThrow(/no\.bin: there is no such file/);
    await expect(openFileSource(folder)).rejects.toThrow(/expected a file, found a folder/);
    await expect(openFolder(join(folder, 'no'))).rejects.toThrow(/there is no such folder/);
    await expect(openFolder(join(folder, 'outside.txt'))).rejects.toThrow(/expected a folder, found a file/);
    const tree = await openFolder(folder);
    await expect(tree.open('tree')).rejects.toThrow(/expected a file, found a folder/);
    await tree.close();
  });

  test('closing the tree closes its files, twice does no harm, reading after is told', async () => {
    const tree = await openFolder(folder);
    const source = await tree.open('outside.txt');
    await tree.close();
    await source!.close();
    await expect(source!.read(0, 1)).rejects.toThrow(/read after close/);
  });
});

test('text that is not UTF-8 or not JSON names the file and shows its start', async () => {
  const tree = memoryTree('m', {
    'lfs.json': 'version https://git-lfs.github.com/spec/v1',
    'bad.json': new Uint8Array([0xff]),
  });
  await expect(readJson(tree, 'lfs.json')).rejects.toThrow(CheckpointError);
  await expect(readJson(tree, 'lfs.json')).rejects.toThrow(
    /m\/lfs\.json: not JSON .*"version https:\/\/git-lfs/,
  );
  await expect(readJson(tree, 'bad.json')).rejects.toThrow(/m\/bad\.json: expected UTF-8/);
});

test('memory sources copy out of a Node Buffer, whose slice does not', async () => {
  const buffer = Buffer.from([1, 2, 3]);
  (await memorySource('b', buffer).read(0, 3)).fill(0);
  expect([...buffer]).toEqual([1, 2, 3]);
});
