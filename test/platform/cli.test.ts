// Each command once for real, then every mistake; they share one spawn and one golden model, so they stay in one file.
import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openFileSource } from '../../src/platform/node-files.ts';
import { readHeader, readTensor } from '../../weights/safetensors.ts';

// The command line as a user has it: another process, its streams, its exit code.

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const MODEL = ['--model', 'test/golden', '--device', 'wasm'];
const SMALL = 'test/golden/images/small.png';

type Ran = { readonly code: number | null; readonly out: string; readonly err: string };
type RunOptions = { readonly stdin?: string; readonly env?: Readonly<Record<string, string>> };

const start = (args: readonly string[], env: RunOptions['env'] = {}) =>
  spawn(process.execPath, ['--import', 'tsx', 'src/cli/main.ts', ...args], {
    cwd: ROOT,
    env: { ...process.env, JINA_EMBEDDINGS_THREADS: '1', NO_COLOR: '', ...env },
  });

function finished(child: ReturnType<typeof start>): Promise<Ran> {
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

function run(args: readonly string[], { stdin = '', env }: RunOptions = {}): Promise<Ran> {
  const child = start(args, env);
  child.stdin.on('error', () => {}); // a command that fails early does not read it
  child.stdin.end(stdin);
  return finished(child);
}

type Line = {
  readonly index: number;
  readonly id?: unknown;
  readonly type: string;
  readonly embedding?: readonly number[];
  readonly embeddings?: readonly (readonly number[])[];
};

const linesOf = (text: string): readonly Line[] =>
  text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Line);

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cli-test-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe('embed', () => {
  let reference: readonly Line[];

  test('a mix of adapters as a task, without a warning that another one ran', async () => {
    const mixed = await run(['embed', ...MODEL, '--text', 'a', '--task', 'code*0.25 + retrieval*0.75']);
    expect({ code: mixed.code, err: mixed.err }).toEqual({ code: 0, err: '' });
    const alone = await run(['embed', ...MODEL, '--text', 'a', '--task', 'retrieval']);
    expect(linesOf(mixed.out)[0].embedding).not.toEqual(linesOf(alone.out)[0].embedding);
  });

  test('interleaved inputs come out in the order given, as JSON lines and nothing else', async () => {
    const file = join(folder, 'in.jsonl');
    await writeFile(
      file,
      `{"text": "from a file", "id": "f"}\n\n"a plain string"\n{"image": "${SMALL}", "id": 2}\n`,
    );
    const inputs = ['--text', 'first', '--image', SMALL, '--input', file, '--text', 'last'];
    const { code, out, err } = await run(['embed', ...MODEL, ...inputs]);
    expect({ code, err }).toEqual({ code: 0, err: '' });
    reference = linesOf(out);
    expect(reference.map((l) => [l.index, l.id, l.type])).toEqual([
      [0, undefined, 'text'],
      [1, undefined, 'image'],
      [2, 'f', 'text'],
      [3, undefined, 'text'],
      [4, 2, 'image'],
      [5, undefined, 'text'],
    ]);
    expect(reference[4].embedding).toEqual(reference[1].embedding);
    for (const { embedding = [] } of reference) {
      expect(embedding.length).toBe(64);
      expect(Math.hypot(...embedding)).toBeCloseTo(1, 6);
    }
    for (const { out: again, args } of [
      { out: join(folder, 'out.npy'), args: inputs },
      { out: join(folder, 'out.safetensors'), args: inputs },
      { out: join(folder, 'out.jsonl'), args: inputs },
    ]) {
      const ran = await run(['embed', ...MODEL, ...args, '--output', again]);
      expect(ran).toEqual({ code: 0, out: '', err: '' });
    }
  });

  test('.jsonl, .npy and .safetensors hold the same bits', async () => {
    const bits = Buffer.from(Float32Array.from(reference.flatMap((l) => l.embedding ?? [])).buffer);
    expect(linesOf(await readFile(join(folder, 'out.jsonl'), 'utf8'))).toEqual(reference);

    const npy = await readFile(join(folder, 'out.npy'));
    expect(npy.toString('latin1', 0, 128)).toContain(
      "'descr': '<f4', 'fortran_order': False, 'shape': (6, 64)",
    );
    expect(npy.subarray(128).equals(bits)).toBe(true);

    const source = await openFileSource(join(folder, 'out.safetensors'));
    const { tensors, metadata } = await readHeader(source);
    const entry = tensors.get('embeddings');
    expect(entry).toMatchObject({ dtype: 'F32', shape: [6, 64] });
    expect(Buffer.from(await readTensor(entry as NonNullable<typeof entry>)).equals(bits)).toBe(true);
    expect(metadata).toEqual({
      model: 'test/golden',
      task: 'retrieval',
      prompt: 'query',
      precision: 'float32',
    });
    await source.close();
    expect((await readdir(folder)).filter((name) => name.includes('part'))).toEqual([]);
  });

  test('stdin, more inputs than one group holds, ids, a task for one line, a smaller size', async () => {
    const many = Array.from({ length: 300 }, (_, i) =>
      JSON.stringify({ text: `text ${i % 7}`, id: `n${i}` }),
    );
    many[8] = JSON.stringify({ text: 'text 1', task: 'code' });
    const { code, out, err } = await run(['embed', ...MODEL, '--input', '-', '--dim', '16'], {
      stdin: `${many.join('\n')}\n`,
    });
    expect({ code, err }).toEqual({ code: 0, err: '' });
    const lines = linesOf(out);
    expect(lines.map((l) => l.index)).toEqual(many.map((_, i) => i));
    expect(lines.map((l) => l.id)).toEqual(many.map((_, i) => (i === 8 ? undefined : `n${i}`)));
    expect(lines[299].embedding).toEqual(lines[5].embedding);
    expect(lines[8].embedding).not.toEqual(lines[1].embedding);
    expect(lines[0].embedding?.length).toBe(16);
  });

  test('multi-vectors: a list a line, a tensor an input', async () => {
    const args = ['embed', ...MODEL, '--text', 'a', '--text', 'a longer text', '--multivector'];
    const lines = linesOf((await run(args)).out);
    expect(lines.map((l) => Object.keys(l))).toEqual([0, 1].map(() => ['index', 'type', 'embeddings']));
    const path = join(folder, 'multi.safetensors');
    expect(await run([...args, '--output', path])).toEqual({ code: 0, out: '', err: '' });
    const source = await openFileSource(path);
    const { tensors } = await readHeader(source);
    expect([...tensors.keys()]).toEqual(['0', '1']);
    for (const { index, embeddings = [] } of lines) {
      const entry = tensors.get(String(index));
      expect(entry?.shape).toEqual([embeddings.length, 16]);
      const bits = Buffer.from(Float32Array.from(embeddings.flat()).buffer);
      expect(Buffer.from(await readTensor(entry as NonNullable<typeof entry>)).equals(bits)).toBe(true);
    }
    await source.close();
  });

  test.each([
    ['float16', '<f2', 2],
    ['uint8', '|u1', 1],
    ['binary', '|i1', 1 / 8],
  ])('%s in .npy', async (precision, descr, bytes) => {
    const path = join(folder, `${precision}.npy`);
    const { code } = await run([
      'embed',
      ...MODEL,
      '--text',
      'a',
      '--precision',
      precision,
      '--output',
      path,
    ]);
    expect(code).toBe(0);
    const npy = await readFile(path);
    expect(npy.toString('latin1', 0, 128)).toContain(`'descr': '${descr}'`);
    expect(npy.length).toBe(128 + 64 * bytes);
  });

  test('settings from file, environment and options, in this order', async () => {
    const config = join(folder, 'settings.json');
    await writeFile(config, '{"truncateDim": 16, "precision": "int8", "device": "cpu"}');
    const args = ['embed', '--model', 'test/golden', '--text', 'a', '--config', config];
    const lengths = [
      await run(args),
      await run(args, { env: { JINA_EMBEDDINGS_TRUNCATE_DIM: '32' } }),
      await run([...args, '--dim', '64'], { env: { JINA_EMBEDDINGS_TRUNCATE_DIM: '32' } }),
    ].map(({ out }) => linesOf(out)[0].embedding?.length);
    expect(lengths).toEqual([16, 32, 64]);
  });

  test('says on stderr what it did otherwise than asked, and nothing with --quiet', async () => {
    const args = [
      'embed',
      ...MODEL,
      '--text',
      'one two three four',
      '--max-length',
      '3',
      '--task',
      'clustering',
    ];
    const { code, err } = await run(args);
    expect(code).toBe(0);
    expect(err).toBe(
      'warning: this model has no adapter "clustering"; "text-matching" ran in its place\n' +
        'warning: 1 text cut to 3 tokens (input 0); see --max-length\n',
    );
    expect((await run([...args, '--quiet'])).err).toBe('');
  });

  test('the advertisement of the cpu backend appears nowhere', async () => {
    const { code, out, err } = await run([
      'embed',
      '--model',
      'test/golden',
      '--device',
      'cpu',
      '--text',
      'a',
    ]);
    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect(linesOf(out).length).toBe(1);
  });
});

describe('the other commands', () => {
  test('similarity: a matrix for people, JSON for programs', async () => {
    const items = [
      '--text',
      'hello',
      '--image',
      SMALL,
      '--against-text',
      'hello',
      '--against-text',
      'a tree',
    ];
    const table = await run(['similarity', ...MODEL, ...items]);
    expect(table).toMatchObject({ code: 0, err: '' });
    expect(table.out).toMatch(
      /^ +hello +a tree\nhello +1\.000 +-?0\.\d{3}\nsmall\.png +-?0\.\d{3} +-?0\.\d{3}\n$/,
    );
    const { out } = await run(['similarity', ...MODEL, ...items, '--json', '--metric', 'dot']);
    const json = JSON.parse(out);
    expect(json).toMatchObject({
      metric: 'dot',
      rows: [{ text: 'hello' }, { image: SMALL }],
      columns: [{ text: 'hello' }, { text: 'a tree' }],
    });
    expect(json.similarities[0][0]).toBeCloseTo(1, 6);
    expect(json.similarities[0][1].toFixed(3)).toBe(/hello +1\.000 +(\S+)/.exec(table.out)?.[1]);
  });

  test('similarity of multi-vectors is MaxSim, each with each', async () => {
    const { code, out } = await run([
      'similarity',
      ...MODEL,
      '--multivector',
      '--text',
      'a',
      '--text',
      'b c',
      '--json',
    ]);
    expect(code).toBe(0);
    const { metric, similarities } = JSON.parse(out);
    expect(metric).toBe('maxsim');
    // A text's best match of every token is that token itself.
    expect(similarities[0][0]).toBeCloseTo(Math.round(similarities[0][0]), 5);
    expect(similarities[0][0]).toBeGreaterThan(similarities[0][1]);
  });

  test('info: geometry, parameters, adapters, memory, files, licence', async () => {
    const { code, out } = await run(['info', 'test/golden']);
    expect(code).toBe(0);
    for (const piece of [
      /total +229,904 +94 tensors, stored as BF16/,
      /retrieval +rank 4, alpha 4, on 22 linear maps, 11,456 parameters/,
      /float32 +1\.1 MB/,
      /model-00002-of-00002\.safetensors +187 kB/,
      /Qwen Research License \/ CC-BY-NC-4\.0/,
    ])
      expect(out).toMatch(piece);
    const json = JSON.parse((await run(['info', '--model', 'test/golden', '--json'])).out);
    expect(json).toMatchObject({
      model: 'test/golden',
      randomWeights: false,
      config: { decoder: { hiddenSize: 64 } },
      parameters: { total: 229904 },
      tokenizer: { tokens: 601 },
      memory: { float32: (229904 + 3 * 11456) * 4 },
    });
  });

  test('info says so when the weights are random', async () => {
    const random = join(folder, 'random');
    await mkdir(random);
    const golden = join(ROOT, 'test/golden');
    for (const name of await readdir(golden)) {
      if (!/^model|^tokenizer|^preprocessor/.test(name)) continue;
      await writeFile(join(random, name), await readFile(join(golden, name)));
    }
    const config = JSON.parse(await readFile(join(golden, 'config.json'), 'utf8'));
    await writeFile(join(random, 'config.json'), JSON.stringify({ ...config, random_weights: true }));
    expect((await run(['info', random])).out).toContain('random weights: its similarities mean nothing');
    const demo = await run(['demo', '--model', random, '--device', 'wasm']);
    expect(demo).toMatchObject({ code: 0, err: '' });
    expect(demo.out).toContain('its similarities mean nothing yet');
  });

  test('doctor: machine, backends, choice and reason, memory', async () => {
    const { code, out } = await run(['doctor', '--device', 'wasm', '--model', 'test/golden']);
    expect(code).toBe(0);
    for (const piece of [
      /Node +v\d+/,
      /wasm +yes +WebAssembly/,
      /backend +wasm: asked for by name/,
      /batch +8 inputs/,
      /published jina-embeddings-v4, 3,754\.9 million parameters\n +float32 +1\d GB/,
    ])
      expect(out).toMatch(piece);
    const json = JSON.parse((await run(['doctor', '--device', 'cpu', '--json'])).out);
    expect(json.choice).toMatchObject({ backend: 'cpu', precision: 'float32', batchSize: 8 });
    expect(json.backends.map((b: { name: string }) => b.name)).toContain('wasm');
  });

  test('demo: similarities, best pictures, backend, times', async () => {
    const { code, out, err } = await run(['demo', ...MODEL]);
    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect(out).toMatch(/a red apple +→ {2}\w+\n/);
    expect(out).toMatch(/\d+ of 10 texts found the picture they are about/);
    expect(out).toMatch(/Ran on wasm: asked for by name/);
    expect(out).toMatch(/Loading took \S+ m?s, embedding 10 texts and 8 pictures \S+ m?s\./);
    const json = JSON.parse((await run(['demo', ...MODEL, '--json'])).out);
    expect(json.results.length).toBe(10);
    expect(json.backend).toBe('wasm');
  });

  test('the pictures of the demo are small', async () => {
    const demo = join(ROOT, 'weights/demo');
    const sizes = (await readdir(demo)).map(async (name) => (await stat(join(demo, name))).size);
    expect((await Promise.all(sizes)).reduce((a, b) => a + b)).toBeLessThan(1_000_000);
  });

  test('help has examples, the version is the package’s', async () => {
    for (const args of [['--help'], ['embed', '--help'], ['help', 'similarity']]) {
      const { code, out } = await run(args);
      expect(code).toBe(0);
      expect(out).toContain('Examples:\n  $ jina-embeddings');
    }
    const { version } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8'));
    expect(await run(['--version'])).toEqual({ code: 0, out: `${version}\n`, err: '' });
  });
});

describe('wrong usage is exit code 2 and one line', () => {
  test.concurrent.each<[readonly string[], string]>([
    [['embed'], 'nothing to embed; give --text, --image or --input'],
    [['embed', '--txt', 'a'], "unknown option '--txt' (Did you mean --text?)"],
    [['embed', '--text'], "option '--text <text>' argument missing"],
    [
      ['embed', '--text', 'a', '--dim', '1.5'],
      "option '--dim <n>' argument '1.5' is invalid. Expected a whole number, 1 or more.",
    ],
    [
      ['embed', '--text', 'a', '--batch-size', '0'],
      "option '--batch-size <n>' argument '0' is invalid. Expected a whole number, 1 or more.",
    ],
    [
      ['embed', '--text', 'a', '--max-length', '99999'],
      'options: maxLength must be a whole number from 1 to 32768, got 99999',
    ],
    [
      ['embed', '--text', 'a', '--prompt', 'x'],
      "option '-p, --prompt <name>' argument 'x' is invalid. Allowed choices are query, passage, document.",
    ],
    [
      ['embed', '--text', 'a', '--output', 'x.txt'],
      '--output x.txt: unknown ending; use .jsonl, .npy or .safetensors',
    ],
    [
      ['embed', '--text', 'a', '--dim', '16', '--multivector'],
      '--dim shortens single vectors; multi-vectors have one size: leave out --dim or --multivector',
    ],
    [
      ['embed', '--input', '-', '--input', '-'],
      "option '-i, --input <file.jsonl>' argument '-' is invalid. stdin can be read only once.",
    ],
    [['embed', '--input', '-'], 'nothing to embed: stdin has no lines'],
    [
      ['embed', '--text', 'a', '--config', 'nope.json'],
      '--config nope.json: cannot be read (ENOENT); check the path',
    ],
    [
      ['similarity', '--text', 'a'],
      'one input has nothing to be compared with; give another, or --against-text or --against-image',
    ],
    [
      ['similarity', '--text', 'a', '--text', 'b', '--metric', 'maxsim'],
      '--metric maxsim compares multi-vectors; add --multivector',
    ],
    [['frobnicate'], "unknown command 'frobnicate'"],
  ])('%j', async (args, message) => {
    expect(await run(args)).toEqual({ code: 2, out: '', err: `error: ${message}\n` });
  });

  test('an unknown setting in the environment', async () => {
    const { code, err } = await run(['embed', '--text', 'a'], { env: { JINA_EMBEDDINGS_DIM: '16' } });
    expect(code).toBe(2);
    expect(err).toContain('error: environment: unknown setting "dim"; the settings are device,');
  });
});

describe('failures are exit code 1 and one line', () => {
  let server: Server;
  let address: string;
  beforeAll(async () => {
    await writeFile(join(folder, 'bad.jsonl'), '{"text": "good"}\n{"txt": "bad"}\n');
    await writeFile(join(folder, 'empty.png'), '');
    await writeFile(join(folder, 'cut.png'), (await readFile(join(ROOT, SMALL))).subarray(0, 300));
    server = createServer((request, answer) => {
      answer.statusCode = request.url === '/page' ? 200 : 404;
      answer.end('<!doctype html><title>no picture</title>');
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterAll(() => server.close());

  test.concurrent.each<[string, () => readonly string[], RegExp]>([
    ['no such model', () => ['--model', 'nope', '--text', 'a'], /nope: there is no such folder/],
    [
      'no such image',
      () => [...MODEL, '--image', 'nope.png'],
      /nope\.png: there is no such file; check the path/,
    ],
    ['no image at all', () => [...MODEL, '--image', 'package.json'], /package\.json: unknown image format/],
    [
      'an empty image',
      () => [...MODEL, '--image', join(folder, 'empty.png')],
      /empty\.png is empty \(0 bytes\)/,
    ],
    [
      'half an image',
      () => [...MODEL, '--image', join(folder, 'cut.png')],
      /cut\.png: the image is broken or cut off/,
    ],
    [
      'a URL that is not there',
      () => [...MODEL, '--image', `${address}/none.png`],
      /none\.png: the server answered 404/,
    ],
    [
      'a URL that is a page',
      () => [...MODEL, '--image', `${address}/page`],
      /the URL answered with a web page/,
    ],
    [
      'an unknown task',
      () => [...MODEL, '--text', 'a', '--task', 'poetry'],
      /unknown task "poetry"; test\/golden has retrieval/,
    ],
    [
      'an unknown size',
      () => [...MODEL, '--text', 'a', '--dim', '17'],
      /17 is not a size this model was trained for \(16, 32, 64\)/,
    ],
    ['a bad line', () => ['--input', join(folder, 'bad.jsonl')], /bad\.jsonl:2: unknown key "txt"/],
    [
      'no such input file',
      () => ['--input', 'nope.jsonl'],
      /nope\.jsonl: there is no such file; check the path/,
    ],
    [
      'no such output folder',
      () => [...MODEL, '--text', 'a', '--output', 'nope/x.npy'],
      /nope\/x\.npy: its folder does not exist/,
    ],
    [
      'a folder for output',
      () => [...MODEL, '--text', 'a', '--output', join(folder, 'folder.npy')],
      /this is a folder/,
    ],
  ])('%s', async (_, args, message) => {
    await mkdir(join(folder, 'folder.npy'), { recursive: true });
    const { code, out, err } = await run(['embed', ...args()]);
    expect({ code, out }).toEqual({ code: 1, out: '' });
    expect(err).toMatch(/^error: [^\n]+\n$/);
    expect(err).toMatch(message);
  });

  test('a failure in the middle leaves no file, and keeps the one that was there', async () => {
    const path = join(folder, 'kept.npy');
    await writeFile(path, 'mine');
    const before = await readdir(folder);
    const { code } = await run(['embed', ...MODEL, '--text', 'a', '--image', 'nope.png', '--output', path]);
    expect(code).toBe(1);
    expect(await readdir(folder)).toEqual(before);
    expect(await readFile(path, 'utf8')).toBe('mine');
  });

  test('--debug shows where', async () => {
    const { err } = await run(['embed', ...MODEL, '--image', 'nope.png', '--debug']);
    expect(err).toMatch(/^error: SourceError: nope\.png.*\n +at /);
  });
});

describe('interruption', () => {
  const until = async (child: ReturnType<typeof start>, met: () => Promise<boolean>) => {
    while (child.exitCode === null && !(await met())) await new Promise((resolve) => setTimeout(resolve, 50));
  };

  test.each([
    ['while it waits for stdin', 0],
    ['in the middle of writing', 1000],
  ])('Ctrl-C %s leaves no file and exits 130', async (_, least) => {
    const place = await mkdtemp(join(folder, 'interrupted-'));
    const child = start(['embed', ...MODEL, '--input', '-', '--output', join(place, 'out.safetensors')]);
    const ran = finished(child);
    for (let i = 0; i < (least ? 2000 : 1); i++) child.stdin.write(`"text ${i}"\n`);
    await until(child, async () => {
      const sizes = (await readdir(place)).map(async (name) => (await stat(join(place, name))).size);
      return sizes.length > 0 && Math.max(...(await Promise.all(sizes))) >= least;
    });
    child.kill('SIGINT');
    expect(await ran).toEqual({ code: 130, out: '', err: 'error: interrupted\n' });
    expect(await readdir(place)).toEqual([]);
  });

  test('a reader that goes away, as head does, is no error', async () => {
    const child = start(['embed', ...MODEL, '--input', '-']);
    child.stdin.on('error', () => {});
    child.stdin.end(Array.from({ length: 1000 }, (_, i) => `"text ${i}"\n`).join(''));
    child.stdout.once('data', () => child.stdout.destroy());
    const { code, err } = await finished(child);
    expect({ code, err }).toEqual({ code: 0, err: '' });
  });
});
