import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const profile = (...args: readonly string[]) =>
  spawnSync(process.execPath, ['--import', 'tsx', 'src/cli/main.ts', 'profile', ...args], {
    cwd: ROOT,
    encoding: 'utf8',
    env: { ...process.env, JINA_EMBEDDINGS_THREADS: '1', NO_COLOR: '' },
  });
const MODEL = ['--model', 'test/golden', '--device', 'wasm'];

test('a text and a picture, as one line of JSON', () => {
  const { status, stdout, stderr } = profile(...MODEL, '--tokens', '24', '--image', '56x56', '--json');
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  const { backend, peaks, passes } = JSON.parse(stdout);
  expect(backend).toBe('wasm');
  expect(Math.min(peaks.gflops, peaks.gbPerSecond)).toBeGreaterThan(0);
  expect(passes.map((p: { input: string }) => p.input)).toEqual(['a text', 'a picture of 56 × 56']);
  expect(passes[0].tokens).toBe(24);
  for (const { rows } of passes) {
    expect(rows.some((r: { op: string; gflops: number }) => r.op.startsWith('Linear') && r.gflops > 0)).toBe(
      true,
    );
    expect(rows.reduce((sum: number, r: { share: number }) => sum + r.share, 0)).toBeCloseTo(1, 2);
  }
});

test('a table with its yardsticks', () => {
  const { status, stdout } = profile(...MODEL, '--tokens', '8');
  expect(status).toBe(0);
  expect(stdout).toMatch(/^a text, 8 tokens: .*, by wall time\nop +calls +ms +share % +GFLOP\/s/);
  expect(stdout).toMatch(
    /\nYardsticks of this run: a product of \d+ × \d+ float32 reaches [\d.]+ GFLOP\/s .*GB\/s\.\n$/,
  );
});

test('a picture whose size cannot be read is wrong usage', () => {
  const { status, stderr } = profile(...MODEL, '--image', 'large');
  expect(status).toBe(2);
  expect(stderr).toMatch(/Expected two numbers of pixels, as 896x644/);
});
