import { spawn } from 'node:child_process';
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

// `train` as a user has it: another process, its files, its exit code, and what a kill leaves.

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const MODEL = ['--model', 'test/golden', '--device', 'wasm'];
const SHORT = ['--rank', '4', '--batch-size', '4', '--rate', '1e-2', '--seed', '3'];

type Ran = { readonly code: number | null; readonly out: string; readonly err: string };

const start = (args: readonly string[]) =>
  spawn(process.execPath, ['--import', 'tsx', 'src/cli/main.ts', ...args], {
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
const train = (data: string, output: string, ...more: readonly string[]): Promise<Ran> =>
  finished(start(['train', file(data), '--output', file(output), ...MODEL, ...SHORT, ...more]));

type Step = { readonly update: number; readonly loss: number };
const logOf = async (output: string): Promise<readonly Step[]> =>
  (await readFile(join(file(output), 'training.jsonl'), 'utf8'))
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Step);
const lossesOf = async (output: string) => (await logOf(output)).map(({ update, loss }) => [update, loss]);

/** Starts a run, sends it a signal once its log has so many lines, and waits for its end. */
async function stopped(
  output: string,
  lines: number,
  signal: NodeJS.Signals,
  ...more: readonly string[]
): Promise<Ran> {
  const child = start(['train', file('pairs.jsonl'), '--output', file(output), ...MODEL, ...SHORT, ...more]);
  const end = finished(child);
  const timer = setInterval(async () => {
    const steps = await logOf(output).catch(() => []);
    if (steps.length >= lines && !child.killed) child.kill(signal);
  }, 5);
  const result = await end;
  clearInterval(timer);
  return result;
}

const PAIRS = [
  ['a grey cat', 'a cat that is grey'],
  ['two old dogs', 'old dogs, two of them'],
  ['the brown horse', 'a horse of brown colour'],
  ['8 bolts', 'bolts: 8'],
  ['16 screws', 'screws, 16'],
  ['99 nails', 'nails in a box'],
  ['the sea', 'water everywhere'],
].map(([anchor, positive]) => ({ anchor, positive }));
const jsonl = (rows: readonly unknown[]): string => rows.map((r) => `${JSON.stringify(r)}\n`).join('');

let folder: string;
const file = (name: string): string => join(folder, name);
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cli-train-'));
  await cp(join(ROOT, 'test/golden/images/small.png'), file('small.png'));
  await writeFile(
    file('pairs.jsonl'),
    jsonl([...PAIRS, { anchor: 'a picture', positive: { image: 'small.png' } }]),
  );
  await writeFile(
    file('scored.jsonl'),
    jsonl(PAIRS.map(({ anchor, positive }, i) => ({ a: anchor, b: positive, score: i / 7 }))),
  );
  await writeFile(
    file('triplets.jsonl'),
    jsonl(PAIRS.map((pair, i) => ({ ...pair, negative: PAIRS[(i + 1) % 7].positive }))),
  );
  await writeFile(file('cut.jsonl'), `${jsonl(PAIRS.slice(0, 2))}{"anchor": "cut of\n`);
  await writeFile(
    file('mixed.jsonl'),
    jsonl([...PAIRS.slice(0, 2), { anchor: 'x', positive: 'y', score: 1 }]),
  );
  await writeFile(
    file('one-class.jsonl'),
    jsonl(PAIRS.map(({ anchor, positive }) => ({ a: anchor, b: positive, score: 1 }))),
  );
  await writeFile(
    file('one-odd.jsonl'),
    jsonl(PAIRS.map(({ anchor, positive }, i) => ({ a: anchor, b: positive, score: i === 2 ? 1 : 0 }))),
  );
  const lists = PAIRS.map(({ anchor, positive }, i) => ({
    query: anchor,
    documents: [positive, PAIRS[(i + 1) % 7].positive, { image: 'small.png' }],
    scores: [9, 2, i],
  }));
  await writeFile(file('lists.jsonl'), jsonl(lists));
  await writeFile(file('short.jsonl'), jsonl([...lists, { ...lists[0], scores: [9, 2] }]));
  const vectors = PAIRS.map(({ anchor }, i) => ({
    text: anchor,
    vector: Array.from({ length: 40 }, (_, k) => Math.sin(1 + i + k * (i + 2))),
  }));
  await writeFile(file('vectors.jsonl'), jsonl(vectors));
  await writeFile(file('uneven.jsonl'), jsonl([...vectors, { text: 'x', vector: [1, 2] }]));
  await writeFile(file('wide.jsonl'), jsonl(vectors.map((v) => ({ ...v, vector: new Array(9999).fill(1) }))));
  await writeFile(file('lost.jsonl'), jsonl([...PAIRS, { anchor: 'x', positive: { image: 'gone.png' } }]));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe('a run', () => {
  test('writes an adapter that loads, a log and a page; the loss falls; nothing else is left', async () => {
    const page = file('course.html');
    const { code, out, err } = await train('pairs.jsonl', 'whole', '--epochs', '6', '--json', '--html', page);
    expect({ code, err }).toEqual({ code: 0, err: '' });
    const printed = JSON.parse(out) as { updates: number; parameters: number; loss: number };
    expect(printed).toMatchObject({ updates: 12, parameters: 11456 });
    const losses = (await logOf('whole')).map((s) => s.loss);
    expect(losses).toHaveLength(12);
    expect(losses[11]).toBeLessThan(losses[0] / 3);
    expect((await readdir(file('whole'))).sort()).toEqual([
      'adapter_config.json',
      'adapter_model.safetensors',
      'training.jsonl',
    ]);
    expect(await readFile(page, 'utf8')).toContain('running mean');
    const inspected = await finished(
      start(['adapters', 'inspect', file('whole'), '--model', 'test/golden', '--json']),
    );
    expect(inspected.code).toBe(0);
    expect(inspected.out).toContain('"rank":4');
  });

  test.each([
    ['scored.jsonl', []],
    ['triplets.jsonl', ['--loss', 'triplet', '--dim', '32']],
    ['triplets.jsonl', ['--multivector', '0.5', '--chunk', '3', '--recompute', '--accumulate', '2']],
  ])('trains on %s with %s', async (data, more) => {
    const { code, err } = await train(data, 'other', '--epochs', '4', ...more);
    expect({ code, err }).toEqual({ code: 0, err: '' });
  });
});

test('batches whose pairs all have one score by chance are left out, and counted', async () => {
  const { code, err } = await train('one-odd.jsonl', 'odd', '--batch-size', '2', '--epochs', '2');
  expect(code).toBe(0);
  expect(err).toMatch(/left out: \d+ of the batches, whose pairs all had one score/);
  const steps = await logOf('odd');
  expect(steps).toHaveLength(6);
  expect(steps.every(({ loss }) => loss > 0)).toBe(true);
});

describe('what a teacher says', () => {
  test.each([
    ['lists.jsonl', ['--loss', 'distillation', '--multivector', '0.5', '--teacher-temperature', '5']],
    ['vectors.jsonl', ['--loss', 'distillation']],
    ['vectors.jsonl', ['--dim', '32']],
  ])('is learnt from %s with %s', async (data, more) => {
    const { code, out, err } = await train(data, 'taught', '--epochs', '12', '--json', ...more);
    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect(JSON.parse(out)).toMatchObject({ trained: 'LoRA of rank 4', updates: 12 });
    const losses = (await logOf('taught')).map((s) => s.loss);
    expect(losses[11]).toBeLessThan(0.8 * losses[0]);
  });
});

describe('what is trained', () => {
  test('a rank-stabilised DoRA, written as PEFT has it', async () => {
    const { code, out, err } = await train(
      'pairs.jsonl',
      'dora',
      '--epochs',
      '4',
      '--dora',
      '--rslora',
      '--json',
    );
    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect(JSON.parse(out)).toMatchObject({ trained: 'DoRA of rank 4', updates: 8 });
    const losses = (await logOf('dora')).map((s) => s.loss);
    expect(losses[7]).toBeLessThan(losses[0] / 2);
    const config = JSON.parse(await readFile(join(file('dora'), 'adapter_config.json'), 'utf8'));
    expect(config).toMatchObject({ use_dora: true, r: 4, lora_alpha: 8 }); // 4 / √4 as alpha / r
  });

  test('all weights, written as a checkpoint that loads', async () => {
    const { code, out, err } = await finished(
      start([
        'train',
        file('pairs.jsonl'),
        '--output',
        file('model'),
        ...MODEL,
        ...['--all-weights', '--epochs', '10', '--batch-size', '4', '--rate', '2e-3', '--json'],
      ]),
    );
    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect(JSON.parse(out)).toMatchObject({ trained: 'all weights', updates: 20 });
    const losses = (await logOf('model')).map((s) => s.loss);
    expect(losses[19]).toBeLessThan(losses[0] / 2);
    expect((await readdir(file('model'))).sort()).toEqual([
      'config.json',
      'model.safetensors',
      'preprocessor_config.json',
      'tokenizer.json',
      'tokenizer_config.json',
      'training.jsonl',
    ]);
    const embed = async (model: string) => {
      const { out: line } = await finished(
        start(['embed', '--text', 'a grey cat', '--task', 'none', '--model', model, '--device', 'wasm']),
      );
      return (JSON.parse(line) as { embedding: number[] }).embedding;
    };
    const [found, before] = [await embed(file('model')), await embed('test/golden')];
    const cosine = found.reduce((sum, v, i) => sum + v * before[i], 0);
    expect(cosine).toBeLessThan(0.999);
    expect(Math.hypot(...found)).toBeCloseTo(1, 5);
    const again = await train('pairs.jsonl', 'model', '--all-weights');
    expect(again.code).toBe(2);
    expect(again.err).toMatch(/--all-weights trains no LoRA, of which --rank speaks/);
    const over = await finished(
      start(['train', file('pairs.jsonl'), '--output', file('model'), ...MODEL, '--all-weights']),
    );
    expect(over.code).toBe(1);
    expect(over.err).toMatch(/holds a checkpoint already/);
  });
});

describe('a run that is stopped', () => {
  const LONG = ['--epochs', '15'];
  test('by Ctrl-C exits with 130, keeps its state, and goes on as if nothing had been', async () => {
    await train('pairs.jsonl', 'undisturbed', ...LONG);
    const { code, err } = await stopped('interrupted', 6, 'SIGINT', ...LONG);
    expect(code).toBe(130);
    expect(err).toMatch(/stopped after \d+ updates; --resume goes on from there\n.*interrupted/);
    expect(await readdir(file('interrupted'))).toContain('training-state.safetensors');
    expect(await readdir(file('interrupted'))).not.toContain('adapter_model.safetensors');
    expect((await train('pairs.jsonl', 'interrupted', ...LONG, '--resume')).code).toBe(0);
    expect(await lossesOf('interrupted')).toEqual(await lossesOf('undisturbed'));
    const adapter = (name: string) => readFile(join(file(name), 'adapter_model.safetensors'));
    expect((await adapter('interrupted')).equals(await adapter('undisturbed'))).toBe(true);
  });

  test('by a kill goes on from the last state that was kept', async () => {
    const { code } = await stopped('killed', 8, 'SIGKILL', ...LONG, '--keep-every', '3');
    expect(code).toBeNull();
    const { code: again, err } = await train('pairs.jsonl', 'killed', ...LONG, '--resume');
    expect({ again, err }).toEqual({ again: 0, err: '' });
    expect(await lossesOf('killed')).toEqual(await lossesOf('undisturbed'));
  });
});

describe('what is wrong is told with file and line', () => {
  test.each([
    ['cut.jsonl', /cut\.jsonl:3: not JSON/],
    ['mixed.jsonl', /mixed\.jsonl:3: a "score", which the lines before do not have/],
    ['short.jsonl', /short\.jsonl:8: 2 "scores" for 3 "documents"/],
    [
      'uneven.jsonl',
      /uneven\.jsonl:8: a "vector" of 2 values, and the first line has a "vector" of 40 values/,
    ],
    ['wide.jsonl', /wide\.jsonl:1: a "vector" of 9999 values, and the model's vectors have \d+/],
    ['lost.jsonl', /lost\.jsonl:8: .*gone\.png/],
  ])('%s', async (data, message) => {
    const { code, err } = await train(data, 'wrong', '--epochs', '8');
    expect(code).toBe(1);
    expect(err).toMatch(message);
  });

  test('pairs that all have one score', async () => {
    const { code, err } = await train('one-class.jsonl', 'wrong');
    expect(code).toBe(1);
    expect(err).toMatch(/one-class\.jsonl:1, 2, 3, 4, 5, 6, 7: all 7 pairs have the score 1, and CoSENT/);
    expect(await readdir(file('wrong'))).toEqual([]);
  });

  test('a loss that is not finite ends the run, names the batch and leaves the last good state', async () => {
    const { code, err } = await train('pairs.jsonl', 'blown', '--rate', '1e38', '--epochs', '8');
    expect(code).toBe(1);
    expect(err).toMatch(/update \d+: the loss is (NaN|Infinity).*\(\S*pairs\.jsonl:\d, \d, \d, \d\)\n$/);
    const steps = await logOf('blown');
    expect(steps.length).toBeGreaterThan(0);
    expect(steps.every(({ loss }) => Number.isFinite(loss))).toBe(true);
    expect((await readdir(file('blown'))).sort()).toEqual(['training-state.safetensors', 'training.jsonl']);
  });

  test('a state that is not there', async () => {
    const { code, err } = await train('pairs.jsonl', 'nothing', '--resume');
    expect(code).toBe(1);
    expect(err).toMatch(/no state to go on from .*leave out --resume/);
  });

  test('an option that makes no sense', async () => {
    const { code, err } = await train('pairs.jsonl', 'nothing', '--warmup', '1.5');
    expect(code).toBe(2);
    expect(err).toMatch(/--warmup.*from 0 to below 1/);
  });
});
