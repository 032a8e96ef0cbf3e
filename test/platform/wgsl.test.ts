import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, onTestFinished, test } from 'vitest';

// Every WGSL body, on a GPU that is emulated on the CPU, which needs a node of its own (scripts/software-vulkan.sh). Where
// TEST_BACKENDS is set, as it is in the runs from here, the tests of kernels/ run on that already: this one runs nothing.

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const EXPORTS = join(ROOT, '.cache/vulkan/exports.sh');
const VITEST = join(ROOT, 'node_modules/vitest/vitest.mjs');
const KERNELS = ['--project', 'unit', 'kernels/'];
const MINUTES = 60_000;

type Ended = { readonly code: number | null; readonly said: string };

type Results = {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly testResults: readonly {
    readonly name: string;
    readonly status: string;
    readonly message?: string;
    readonly assertionResults: readonly {
      readonly fullName: string;
      readonly status: string;
      readonly failureMessages?: readonly string[];
    }[];
  }[];
};

/** Runs a program from the root of the project to its end. What makes this process a worker of vitest is not handed on. */
function runToEnd(program: string, args: readonly string[], backend: 'webgpu' | 'cpu', ended?: AbortSignal) {
  const own = Object.entries(process.env).filter(
    ([name]) => !/^(VITEST|TINYPOOL|NODE_ENV$|TEST$)/.test(name),
  );
  const child = spawn(program, args, {
    cwd: ROOT,
    env: { ...Object.fromEntries(own), TEST_BACKENDS: backend },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  ended?.addEventListener('abort', () => child.kill());
  let said = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk) => {
      said += chunk;
    });
  }
  return new Promise<Ended>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, said }));
  });
}

/** Into a file, since anything else may be printed beside it. */
async function jsonOf<T>(run: (file: string) => Promise<Ended>): Promise<Ended & { readonly json: T }> {
  const folder = mkdtempSync(join(tmpdir(), 'wgsl-'));
  try {
    const file = join(folder, 'results.json');
    const ended = await run(file);
    if (!existsSync(file))
      throw new Error(`vitest ended with code ${ended.code} and no results:\n${ended.said}`);
    return { ...ended, json: JSON.parse(readFileSync(file, 'utf8')) as T };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** A line for each test, or file, that failed. */
const failures = ({ testResults }: Results): string[] =>
  testResults.flatMap(({ name, status, message, assertionResults }) => {
    const failed = assertionResults.filter((t) => t.status === 'failed');
    if (status === 'failed' && failed.length === 0)
      return [`${name}: ${message || 'a hook failed, or took too long'}`];
    return failed.map((t) => `${name} > ${t.fullName}: ${t.failureMessages?.[0]}`);
  });

const named = process.env.TEST_BACKENDS !== undefined;
const there = existsSync(EXPORTS);
if (!there && !named) {
  // The same tests on cpu tell how many they would have been.
  const count = await jsonOf<readonly unknown[]>((file) =>
    runToEnd(
      process.execPath,
      [VITEST, 'list', ...KERNELS, `--json=${file}`],
      'cpu',
      AbortSignal.timeout(2 * MINUTES),
    ),
  ).then(
    ({ json }) => json.length,
    () => 'all', // a machine too busy to count them
  );
  console.warn(
    `NOT RUN: ${count} tests of kernels/ on webgpu: no software Vulkan here; ` +
      'scripts/software-vulkan.sh .cache/vulkan gets one',
  );
}

test.skipIf(named || !there)(
  'all tests of kernels/ on software Vulkan',
  { timeout: 10 * MINUTES },
  async () => {
    const ended = new AbortController();
    onTestFinished(() => ended.abort()); // after the time limit it would run on
    const program = 'source "$0" && exec "$VULKAN_NODE" "$@"'; // in a shell of its own: the driver is not for this process
    const { json, code, said } = await jsonOf<Results>((file) => {
      // One worker: this one only waits meanwhile. Its tests may wait for others that run beside it.
      const patience = ['--testTimeout=300000', '--hookTimeout=300000'];
      const how = ['--maxWorkers=1', ...patience, '--reporter=json', `--outputFile=${file}`];
      return runToEnd(
        'bash',
        ['-c', program, EXPORTS, VITEST, 'run', ...KERNELS, ...how],
        'webgpu',
        ended.signal,
      );
    });
    const { numPassedTests: passed, numFailedTests: failed, numPendingTests: skipped } = json;
    console.log(`kernels/ on software Vulkan: ${passed} passed, ${failed} failed, ${skipped} skipped`);
    expect(failures(json)).toEqual([]);
    expect(code, said).toBe(0);
    expect(passed).toBeGreaterThan(100);
  },
);
