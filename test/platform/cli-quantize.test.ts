import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';

// `jina-embeddings quantize` as a user has it: another process, its streams, its exit code, what it leaves on the disk.

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
type Ran = { readonly code: number | null; readonly out: string; readonly err: string };

function start(...args: readonly string[]) {
  const child = spawn(process.execPath, ['--import', 'tsx', 'src/cli/main.ts', ...args], {
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
  const ran = new Promise<Ran>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, ...text }));
  });
  return { child, ran };
}
const run = (...args: readonly string[]): Promise<Ran> => start(...args).ran;

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cli-quantize-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

test('a folder that info describes and embed runs, in shards', async () => {
  const output = join(folder, 'deep', 'int8');
  const made = await run('quantize', 'test/golden', output, '--precision', 'int8', '--shard-size', '150kB');
  expect(made).toMatchObject({ code: 0, err: '' });
  const told = JSON.parse(made.out);
  expect(told).toMatchObject({
    output,
    precision: 'int8',
    parameters: { int8: 150016 },
    sourceBytes: 469072,
  });
  const files = (await readdir(output, { recursive: true, withFileTypes: true })).filter((f) => f.isFile());
  expect(files.length).toBe(told.files.length);
  expect(told.files).toContain('model-00001-of-00003.safetensors');
  expect(await readdir(join(folder, 'deep'))).toEqual(['int8']);

  const info = await run('info', output);
  expect(info.out).toMatch(/94 tensors, stored as BF16 \(160 kB\), int8 \(160 kB\)/);
  expect(info.out).toMatch(
    /quantised +to int8 by jina-embeddings \d.*, from model-00001-of-00002\.safetensors \(sha256/,
  );
  expect(info.out).toMatch(/as stored +389 kB/);
  const text = ['--text', 'hello', '--device', 'wasm'];
  const [small, full] = await Promise.all(
    [output, 'test/golden'].map(async (model) => {
      const { out } = await run('embed', '--model', model, '--residence', 'streamed', ...text);
      return JSON.parse(out).embedding as number[];
    }),
  );
  expect(small.reduce((sum, x, i) => sum + x * full[i], 0)).toBeGreaterThan(0.999);

  const damaged = join(output, 'model-00002-of-00003.safetensors');
  const bytes = await readFile(damaged);
  bytes[bytes.length - 5] ^= 1;
  await writeFile(damaged, bytes);
  const refused = await run('embed', '--model', output, ...text);
  expect(refused.code).toBe(1);
  expect(refused.err).toMatch(
    /^error: .*model-00002-of-00003\.safetensors: tensor ".*": its bytes have the checksum/,
  );

  const again = await run('quantize', output, join(folder, 'twice'), '--precision', 'int4');
  expect(again.code).toBe(1);
  expect(again.err).toContain('is int8 already');
  expect(await readdir(folder)).toEqual(['deep']);
});

/** A file of lines, in a folder of its own. */
async function linesFile(name: string, ...lines: readonly unknown[]): Promise<string> {
  const inputs = join(folder, 'inputs');
  await mkdir(inputs, { recursive: true });
  const path = join(inputs, name);
  await writeFile(path, lines.map((l) => (typeof l === 'string' ? l : JSON.stringify(l))).join('\n'));
  return path;
}

test('--calibrate: the recipe says for what, and the command how many maps the inputs never reach', async () => {
  const output = join(folder, 'calibrated');
  const image = 'test/golden/images/small.png';
  const mixed = await linesFile('mixed.jsonl', { text: 'a red car' }, '"hello"', '', {
    image,
    task: 'retrieval',
  });
  const int4 = ['--precision', 'int4', '--everywhere', '--calibrate'] as const;
  const made = await run('quantize', 'test/golden', output, ...int4, mixed, '--shard-size', '60kB');
  expect(made.code).toBe(0);
  const told = JSON.parse(made.out);
  expect(told.calibrated).toEqual({ maps: expect.any(Number), unreached: 0 });
  const info = await run('info', output);
  expect(info.out).toMatch(
    /quantised +to int4 by jina-embeddings \d.*, for 3 inputs \(sha256 [0-9a-f]{12}…\), from model/,
  );
  const embedded = await run(
    'embed',
    '--model',
    output,
    '--text',
    'hello',
    '--image',
    image,
    '--device',
    'wasm',
  );
  expect(embedded.code).toBe(0);

  const texts = await linesFile('texts.jsonl', '"hello"');
  const half = JSON.parse((await run('quantize', 'test/golden', join(folder, 'half'), ...int4, texts)).out);
  expect(half.calibrated.unreached).toBeGreaterThan(0);
  expect(half.calibrated.maps + half.calibrated.unreached).toBe(told.calibrated.maps);
});

test('--calibrate: what is wrong with the inputs is told with file and line, and nothing is left', async () => {
  const place = join(folder, 'badly');
  await mkdir(place);
  const output = join(place, 'out');
  const notImage = await linesFile('not-image.jsonl', { image: 'package.json' });
  for (const [code, message, file, precision] of [
    [2, 'has no lines', await linesFile('empty.jsonl', ''), 'int4'],
    [1, 'bad.jsonl:2: not JSON', await linesFile('bad.jsonl', '"hello"', '{text'), 'int4'],
    [1, 'gone.jsonl:1: ', await linesFile('gone.jsonl', { image: 'gone.png' }), 'int4'],
    [1, 'not-image.jsonl:1: ', notImage, 'int4'],
    [
      1,
      'task.jsonl:2: unknown task "x"',
      await linesFile('task.jsonl', '"a"', { text: 'b', task: 'x' }),
      'int4',
    ],
    [1, 'there is no such file', join(folder, 'nothing.jsonl'), 'int4'],
    [2, '--calibrate is about int4', notImage, 'int8'],
  ] as const) {
    const args = ['--precision', precision, '--calibrate', file] as const;
    const { code: found, err } = await run('quantize', 'test/golden', output, ...args);
    expect(err).toContain(message);
    expect(found).toBe(code);
  }
  expect(await readdir(place)).toEqual([]);
});

test('mistakes: nothing is left behind', async () => {
  const place = join(folder, 'mistakes');
  await mkdir(place);
  const output = join(place, 'out');
  for (const [code, message, ...args] of [
    [2, 'precision', 'test/golden', output],
    [2, 'Allowed choices are int8, int4, float16', 'test/golden', output, '--precision', 'int3'],
    [2, '--everywhere is about int4', 'test/golden', output, '--precision', 'int8', '--everywhere'],
    [2, 'Expected a size', 'test/golden', output, '--precision', 'int8', '--shard-size', 'much'],
    [1, 'the folder is not empty', 'test/golden', 'test/golden', '--precision', 'int8'],
    [1, 'no such folder', join(folder, 'nothing'), output, '--precision', 'int8'],
    [1, 'cannot be a folder to write to', 'test/golden', 'README.md', '--precision', 'int8'],
  ] as const) {
    const { code: found, err } = await run('quantize', ...args);
    expect(err).toContain(message);
    expect(found).toBe(code);
  }
  expect(await readdir(place)).toEqual([]);
});

test('Ctrl-C half-way: exit code 130, nothing is left; an empty folder that was there stays', async () => {
  let asked = () => {};
  const halfWay = new Promise<void>((resolve) => {
    asked = resolve;
  });
  const server: Server = createServer(async (request, response) => {
    const path = join(ROOT, 'test/golden', new URL(request.url as string, 'http://x').pathname);
    const file = await stat(path).then(
      () => readFile(path),
      () => null,
    );
    if (file === null) return void response.writeHead(404).end();
    const [, from, to] = /bytes=(\d+)-(\d+)/.exec(request.headers.range ?? '') ?? [];
    const part = from === undefined ? file : file.subarray(Number(from), Number(to) + 1);
    const range = { 'content-range': `bytes ${from}-${to}/${file.length}` };
    response.writeHead(from === undefined ? 200 : 206, {
      'accept-ranges': 'bytes',
      'content-length': part.length,
      ...(from !== undefined && range),
    });
    // The second file's tensors never come.
    if (path.includes('model-00002') && Number(from) > 8) asked();
    else response.end(request.method === 'HEAD' ? undefined : part);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const place = join(folder, 'interrupted');
  const output = join(place, 'out');
  await mkdir(output, { recursive: true });
  const { port } = server.address() as AddressInfo;
  const { child, ran } = start('quantize', `http://127.0.0.1:${port}`, output, '--precision', 'int4');
  await halfWay;
  expect((await readdir(place)).length).toBe(2); // the draft lies beside the folder
  child.kill('SIGINT');
  expect(await ran).toEqual({ code: 130, out: '', err: 'error: interrupted\n' });
  expect(await readdir(place)).toEqual(['out']);
  expect(await readdir(output)).toEqual([]);
  server.closeAllConnections();
  server.close();
});
