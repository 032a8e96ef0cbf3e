import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { describe, expect, test } from 'vitest';
import { expectClose } from '../support/close.ts';
import { type EngineAnswer, type EngineJob, LEFT, RIGHT, SHAPE } from './engine-process.ts';

const script = fileURLToPath(new URL('engine-process.ts', import.meta.url));
const tsx = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href;
const SECONDS_TO_END = 5; // from the last line to the end of the process

type Env = Readonly<Record<string, string | undefined>>;

/** Runs one engine in a process of its own; fails when the process does not end by itself. */
async function run(
  job: EngineJob,
  env: Env = {},
  nodeOptions: readonly string[] = [],
): Promise<EngineAnswer> {
  const child = spawn(process.execPath, ['--import', tsx, ...nodeOptions, script, JSON.stringify(job)], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let [stdout, stderr] = ['', ''];
  let timer: NodeJS.Timeout | undefined;
  child.stdout.on('data', (chunk) => {
    stdout += chunk;
    // Emscripten and TF.js may print before it: the answer is the line that is JSON.
    if (/^\{.*\}$/m.test(stdout)) timer ??= setTimeout(() => child.kill('SIGKILL'), SECONDS_TO_END * 1000);
  });
  child.stderr.on('data', (chunk) => {
    stderr += chunk;
  });
  const [code, signal] = await new Promise<[number | null, string | null]>((resolve) =>
    child.once('close', (...end) => resolve(end)),
  );
  clearTimeout(timer);
  const line = stdout.split('\n').find((text) => text.startsWith('{'));
  if (!line || code !== 0) {
    const how = signal ? `had to be killed (${signal})` : `ended with code ${code}`;
    throw new Error(`${JSON.stringify(job)}: the process ${how}\n${stdout}${stderr}`);
  }
  return JSON.parse(line) as EngineAnswer;
}

/** The product in double precision. */
const EXPECTED = Array.from({ length: SHAPE.rows * SHAPE.columns }, (_, at) => {
  const [row, column] = [Math.floor(at / SHAPE.columns), at % SHAPE.columns];
  let sum = 0;
  for (let k = 0; k < SHAPE.inner; k++)
    sum += LEFT[row * SHAPE.inner + k] * RIGHT[k * SHAPE.columns + column];
  return sum;
});

const expectProduct = ({ values, error }: EngineAnswer, what: string): void => {
  expect(error).toBeUndefined();
  const worst = expectClose(values ?? [], EXPECTED, { relativeToMax: 2e-6, what });
  console.log(`${what}: matmul within ${worst.toExponential(2)} of the largest value`);
};

// Chromium brings a software Vulkan driver, and the loader that finds it, wherever the machine has none of its own.
const CHROMIUM = '/usr/lib/chromium';
const withDriver: Env =
  process.env.VK_DRIVER_FILES || !existsSync(`${CHROMIUM}/vk_swiftshader_icd.json`)
    ? {}
    : { VK_DRIVER_FILES: `${CHROMIUM}/vk_swiftshader_icd.json`, LD_LIBRARY_PATH: CHROMIUM };
const withoutDriver: Env = {
  VK_DRIVER_FILES: '/nowhere/driver.json',
  VK_ICD_FILENAMES: '/nowhere/driver.json',
};

const [webgpu, tensorflow] = await Promise.all([
  run({ run: 'probe', device: 'webgpu' }, withDriver),
  run({ run: 'probe', device: 'tensorflow' }),
]);
for (const [name, { report }] of Object.entries({ webgpu, tensorflow })) {
  if (!report?.available) console.warn(`SKIPPED: the engine "${name}" is not tested: ${report?.detail}`);
}

test('cpu', async () => {
  expectProduct(await run({ run: 'matmul', device: 'cpu' }), 'cpu');
});

test('wasm: two threads compute the very bits of one, and the number of cores is shown as it is', async () => {
  const [one, two] = await Promise.all(
    [1, 2].map((threads) => run({ run: 'matmul', device: 'wasm', threads })),
  );
  expectProduct(one, 'wasm, 1 thread');
  expectProduct(two, 'wasm, 2 threads');
  expect([one.report?.threads, two.report?.threads]).toEqual([1, 2]);
  expect(two.values).toEqual(one.values);
  for (const { cores } of [one, two]) expect(cores?.[1]).toBe(cores?.[0]);
});

test.skipIf(!tensorflow.report?.available)('tensorflow', async () => {
  expectProduct(await run({ run: 'matmul', device: 'tensorflow' }), 'tensorflow');
});

describe.skipIf(!webgpu.report?.available)('webgpu through Dawn', () => {
  test('computes, with nothing to report', async () => {
    const answer = await run({ run: 'matmul', device: 'webgpu' }, withDriver);
    expectProduct(answer, `webgpu (${answer.report?.detail})`);
    expect(answer.gpuErrors).toEqual([]);
  });

  test('an emulated GPU is told from a real one', () => {
    const { detail, hardware } = webgpu.report!;
    expect(hardware === 'software').toBe(/emulated on the CPU/.test(detail));
    if (withDriver.VK_DRIVER_FILES) expect(hardware).toBe('software');
  });

  test('a shader that does not compile is recorded, once', async () => {
    const { gpuErrors } = await run({ run: 'gpu errors', device: 'webgpu' }, withDriver);
    expect(gpuErrors).toEqual([expect.stringMatching(/shader|WGSL|expected/i), 'then 0']);
  });

  test('a lost device is recorded, and the next start takes a new one', async () => {
    const answer = await run({ run: 'gpu loss', device: 'webgpu' }, withDriver);
    expect(answer.gpuErrors).toEqual([expect.stringMatching(/device was lost \(destroyed/)]);
    expectProduct(answer, 'webgpu after a loss');
  });

  test('the buffer pool lets go of what is not in use', async () => {
    const answer = await run({ run: 'buffer pool', device: 'webgpu' }, withDriver);
    const [before, after] = answer.allocated ?? [];
    expect(before).toBeGreaterThan(500_000);
    expect(after).toBe(0);
    expect(answer.gpuErrors).toEqual([]);
    expectProduct(answer, 'webgpu after trimming');
  });
});

describe('a backend asked for by name that is not there', () => {
  test.runIf(process.platform === 'linux')('webgpu without a driver says how to get one', async () => {
    const { error } = await run({ run: 'matmul', device: 'webgpu' }, { ...withDriver, ...withoutDriver });
    expect(error).toMatch(
      /^DeviceError: "webgpu" was asked for, but .*(no Vulkan|no GPU).*libvulkan1.*use wasm$/,
    );
  });

  test.skipIf(!webgpu.report?.available)('webgpu without its package says how to install it', async () => {
    const hooks = `export const resolve = (name, context, next) => {
      if (name !== 'webgpu') return next(name, context);
      throw Object.assign(new Error('not found'), { code: 'ERR_MODULE_NOT_FOUND' });
    };`;
    const asUrl = (code: string) => `data:text/javascript,${encodeURIComponent(code)}`;
    const register = `import { register } from 'node:module'; register(${JSON.stringify(asUrl(hooks))});`;
    const { error } = await run({ run: 'matmul', device: 'webgpu' }, withDriver, [
      '--import',
      asUrl(register),
    ]);
    expect(error).toBe(
      'DeviceError: "webgpu" was asked for, but the optional package "webgpu" is not installed: npm install webgpu; or use wasm',
    );
  });

  test.skipIf(tensorflow.report?.available)('tensorflow says how to install it', async () => {
    const { error } = await run({ run: 'matmul', device: 'tensorflow' });
    expect(error).toMatch(/^DeviceError: "tensorflow" was asked for, but .*npm run native/);
  });
});
