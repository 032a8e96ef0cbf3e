import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { cp, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { Command } from 'commander';
import { chromium } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import type { Adapter } from '../../src/adapters/with-adapters.ts';
import { adaptersCommand } from '../../src/cli/adapters.ts';
import { deltaAt } from '../support/plain-adapter.ts';

// `jina-embeddings adapters …` as a user has it: another process, its streams, its exit code.

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const MODEL = ['--model', 'test/golden'];
const CHROMIUM = '/usr/bin/chromium';
if (!existsSync(CHROMIUM)) console.warn(`SKIPPED: reports are not opened, there is no ${CHROMIUM}`);

type Ran = { readonly code: number | null; readonly out: string; readonly err: string };

function run(...args: readonly string[]): Promise<Ran> {
  const child = spawn(process.execPath, ['--import', 'tsx', 'src/cli/main.ts', 'adapters', ...args], {
    cwd: ROOT,
    env: { ...process.env, JINA_EMBEDDINGS_THREADS: '1', NO_COLOR: '' },
  });
  const text = { out: '', err: '' };
  child.stdout.on('data', (chunk) => {
    text.out += chunk;
  });
  child.stderr.on('data', (chunk) => {
    text.err += chunk;
  });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, ...text }));
  });
}

async function jsonOf(...args: readonly string[]) {
  const { code, out, err } = await run(...args);
  expect({ code, err }).toEqual({ code: 0, err: '' });
  return JSON.parse(out);
}

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cli-adapters-'));
  await cp(join(ROOT, 'test/golden/adapters'), join(folder, 'peft'), { recursive: true });
});
afterAll(() => rm(folder, { recursive: true, force: true }));

test('list: the adapters of a checkpoint, and of a PEFT folder', async () => {
  const { adapters } = await jsonOf('list', 'test/golden');
  expect(adapters).toEqual(
    ['code', 'retrieval', 'text-matching'].map((name) => ({
      name,
      ranks: [4],
      alpha: 4,
      modules: 22,
      parameters: 11456,
    })),
  );
  expect((await jsonOf('list', join(folder, 'peft'))).adapters).toEqual(adapters);
});

test('inspect: by name and from a folder the same numbers; --base adds what they are of the weights', async () => {
  const [named, foreign, based] = await Promise.all([
    jsonOf('inspect', 'code', ...MODEL),
    jsonOf('inspect', `${join(folder, 'peft')}#code`, ...MODEL),
    jsonOf('inspect', 'code', ...MODEL, '--base', '--device', 'wasm'),
  ]);
  expect(foreign).toEqual(named);
  expect(named.adapters[0].modules.length).toBe(22);
  const relative = based.adapters[0].modules.map((m: { relative: number }) => m.relative);
  expect(relative.every((r: number) => r > 0.1 && r < 2)).toBe(true); // both are random, of like size
  const without = based.adapters[0].modules.map((m: object) => ({ ...m, relative: null }));
  expect(without).toEqual(named.adapters[0].modules);
});

test('compare: an adapter with itself, and with another', async () => {
  const same = await jsonOf('compare', 'code', `${join(folder, 'peft')}#code`, ...MODEL);
  expect(same.cosine).toBeCloseTo(1, 10);
  const other = await jsonOf('compare', 'code', 'retrieval', ...MODEL, '--directions', '2');
  expect(Math.abs(other.cosine)).toBeLessThan(0.1);
  expect(other.modules[0].inOverlap.map((row: readonly number[]) => row.length)).toEqual([2, 2]);
});

describe('effect', () => {
  test('of all adapters on texts and images, with a report that a browser opens without the network', async () => {
    const html = join(folder, 'effect.html');
    const inputs = ['--text', 'hello', '--text', '--json', '--image', 'test/golden/images/small.png'];
    const found = await jsonOf('effect', ...inputs, ...MODEL, '--device', 'wasm', '--html', html);
    expect(found.inputs).toBe(3);
    expect(found.moved.length).toBe(3);
    expect(found.between.length).toBe(3);
    for (const { cosines } of [...found.moved, ...found.between]) {
      expect(cosines.length).toBe(3);
      for (const c of cosines) expect(c < 0.99 && c > -1).toBe(true); // random adapters move a vector far
    }
    expect(await readFile(html, 'utf8')).not.toMatch(/https?:|<script|src=|href=/);
    expect(await readdir(folder)).toEqual(['effect.html', 'peft']); // no temporary file stays
    if (existsSync(CHROMIUM)) await expectOpens(html, { figures: 2, rows: 6 });
  });
});

async function expectOpens(
  path: string,
  { figures, rows }: { figures: number; rows: number },
): Promise<void> {
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox'] });
  try {
    const page = await browser.newPage();
    const asked: string[] = [];
    const complaints: string[] = [];
    page.on('request', (request) => asked.push(request.url()));
    page.on('console', (message) => complaints.push(message.text()));
    page.on('pageerror', (error) => complaints.push(error.message));
    const url = pathToFileURL(path).href;
    await page.goto(url);
    expect(asked).toEqual([url]);
    expect(complaints).toEqual([]);
    expect(await page.locator('tbody tr').count()).toBe(rows);
    const sizes = await page
      .locator('figure svg')
      .evaluateAll((all) => all.map((svg) => svg.getBoundingClientRect().width));
    expect(sizes.length).toBe(figures);
    for (const width of sizes) expect(width).toBeGreaterThan(300);
  } finally {
    await browser.close();
  }
}

describe('mistakes', () => {
  test.each<[string, readonly string[], number, RegExp]>([
    [
      'an unknown name',
      ['inspect', 'nope', ...MODEL],
      1,
      /no adapter named "nope" in test\/golden, and no such folder; there are code, /,
    ],
    [
      'a folder of several',
      ['inspect', './test/golden', ...MODEL],
      1,
      /holds code, retrieval, text-matching; say which: \.\/test\/golden#code/,
    ],
    [
      'a folder that is not there',
      ['compare', 'code', './nowhere', ...MODEL],
      1,
      /nowhere: there is no such folder/,
    ],
    [
      'a report that is no page',
      ['inspect', '--html', 'report.txt'],
      2,
      /expected a name that ends in \.html/,
    ],
    ['nothing to embed', ['effect', ...MODEL], 2, /nothing to embed/],
    ['one adapter to compare', ['compare', 'code'], 2, /missing required argument 'b'/],
    ['an unknown command', ['frobnicate'], 2, /unknown command 'frobnicate'/],
  ])('%s', async (_, args, code, message) => {
    const ran = await run(...args);
    expect(ran.err).toMatch(message);
    expect(ran.err.trim().split('\n').length).toBe(1);
    expect({ code: ran.code, out: ran.out }).toEqual({ code, out: '' });
  });
});

test('combine writes a PEFT folder, which every other command takes', async () => {
  const to = join(folder, 'made', 'mixed');
  const given = ['code', 'retrieval', '-w', '0.25,0.75', '--type', 'cat', '--name', 'mixed', '-o', to];
  const { name, rank, output } = await jsonOf('combine', ...given, ...MODEL);
  expect({ name, rank, output }).toEqual({ name: 'mixed', rank: 8, output: to });
  expect((await readdir(to)).sort()).toEqual(['adapter_config.json', 'adapter_model.safetensors']);
  expect((await jsonOf('list', to)).adapters).toEqual([
    { name: 'mixed', ranks: [8], alpha: 8, modules: 22, parameters: 22912 },
  ]);
  const { adapters } = await jsonOf('inspect', to, ...MODEL);
  expect(adapters[0].modules.length).toBe(22);
  const dora = 'test/adapters/forms/dora'; // of another model
  expect((await run('effect', '-a', dora, '--text', 'hello', ...MODEL)).err).toContain(
    'does not fit this model',
  );
  const effect = await jsonOf('effect', '-a', to, '--text', 'hello', ...MODEL, '--device', 'wasm');
  expect(effect.moved[0].to).toBe('mixed');
});

// In this process, so that a writer can be given.
describe('combine', () => {
  afterEach(() => void vi.restoreAllMocks());
  type Saved = { name: string; rank: number; folder: string; delta: Float32Array };

  async function combine(...args: readonly string[]): Promise<{ saved: Saved[]; printed: string }> {
    const saved: Saved[] = [];
    let printed = '';
    vi.spyOn(process.stdout, 'write').mockImplementation(((text: string, done: () => void) => {
      printed += text;
      done();
      return true;
    }) as typeof process.stdout.write);
    const save = async (adapter: Adapter, to: string) => {
      const delta = await deltaAt(adapter, 'model.layers.0.mlp.up_proj');
      saved.push({ name: adapter.name, rank: adapter.rank, folder: to, delta });
    };
    const command = adaptersCommand(new AbortController().signal, save);
    for (const each of [command, ...command.commands])
      each.exitOverride().configureOutput({ writeErr: () => {} });
    const program = new Command().addCommand(command);
    await program.parseAsync(['adapters', 'combine', ...args, '--model', join(ROOT, 'test/golden')], {
      from: 'user',
    });
    return { saved, printed };
  }

  test('adds what it was told to add, and says what came out', async () => {
    const one = await combine('code', '--weights', '-0.5', '-o', 'there');
    const other = await combine('retrieval', '-o', 'there');
    const { saved, printed } = await combine(
      'code',
      'retrieval',
      '--weights',
      '-0.5,1',
      '--type',
      'cat',
      '--name',
      'mixed',
      '-o',
      'there',
    );
    expect(saved[0]).toMatchObject({ name: 'mixed', rank: 8, folder: 'there' });
    saved[0].delta.forEach((v, i) => {
      expect(v).toBeCloseTo(one.saved[0].delta[i] + other.saved[0].delta[i], 4);
    });
    expect(JSON.parse(printed)).toEqual({
      name: 'mixed',
      rank: 8,
      parameters: 22912,
      modules: 22,
      output: 'there',
    });
  });

  test('passes every option on', async () => {
    const { saved } = await combine(
      'code',
      'retrieval',
      '--type',
      'dare_linear_svd',
      '--density',
      '0.5',
      '--svd-rank',
      '3',
      '--seed',
      '7',
      '-o',
      'there',
    );
    expect(saved[0]).toMatchObject({ name: 'code+retrieval', rank: 3 });
    const again = await combine(
      'code',
      'retrieval',
      '--type',
      'dare_linear_svd',
      '--density',
      '0.5',
      '--svd-rank',
      '3',
      '--seed',
      '8',
      '-o',
      'there',
    );
    expect(again.saved[0].delta).not.toEqual(saved[0].delta);
  });

  test.each<[string, readonly string[], RegExp]>([
    [
      'weights that are too few',
      ['code', 'retrieval', '-w', '1', '-o', 'x'],
      /there are 2 adapters but 1 --weights/,
    ],
    ['no density', ['code', 'retrieval', '--type', 'ties', '-o', 'x'], /give density/],
    [
      'an unknown type',
      ['code', 'retrieval', '--type', 'mean', '-o', 'x'],
      /Allowed choices are linear, cat, svd/,
    ],
    ['no output', ['code', 'retrieval'], /required option '-o, --output <folder>'/],
    ['a weight that is none', ['code', '-w', 'much', '-o', 'x'], /Expected a number/],
  ])('%s', async (_, args, message) => {
    await expect(combine(...args)).rejects.toThrow(message);
  });
});
