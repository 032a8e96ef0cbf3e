import * as tf from '@tensorflow/tfjs-core';
import { expect, test } from 'vitest';
import { cumulate } from '../kernels/index.ts';
import { JinaEmbeddings } from '../src/platform/node.ts';
import { opCost } from '../src/profile/op-cost.ts';
import { copyBandwidth, matmulCeiling } from '../src/profile/peaks.ts';
import { profileRun } from '../src/profile/profile-run.ts';
import { onEveryBackend } from './support/backends.ts';
import { GOLDEN } from './support/golden.ts';

const text = 'a red car';
const SEEN_BY_THE_GPU = ['other work of the GPU', 'GPU idle'];

onEveryBackend((backend) => {
  test('every op of a pass has its calls and its time, and the result is the same', async () => {
    using jina = await JinaEmbeddings.load(GOLDEN, { device: backend });
    const { numHiddenLayers: layers, hiddenSize, intermediateSize } = jina.model.config.decoder;
    const expected = await jina.encodeText(text);
    let found: unknown;
    const profile = await profileRun(async () => {
      found = await jina.encodeText(text);
    });
    expect(found).toEqual(expected);
    const rows = new Map(profile.rows.map((row) => [row.op, row]));
    expect(rows.get('Attention')?.calls).toBe(layers);
    if (backend === 'webgpu') {
      expect(rows.get('RmsNorm')?.calls).toBe(1);
      expect(rows.get('RmsNorm and LoRA A')?.calls).toBe(2 * layers);
      expect(rows.get(`Gated ${hiddenSize} → ${intermediateSize} ⊙ ${intermediateSize}`)?.calls).toBe(layers);
    } else {
      expect(rows.get('RmsNorm')?.calls).toBe(2 * layers + 1);
      expect(rows.get('Rope')?.calls).toBe(2 * layers);
    }
    expect(rows.get(`Linear ${intermediateSize} → ${hiddenSize}`)?.calls).toBe(layers);
    for (const { op, calls, ms } of profile.rows) if (calls > 0) expect(ms, op).toBeGreaterThan(0);
    // Every moment belongs to one row.
    const sum = profile.rows.reduce((total, { ms }) => total + ms, 0);
    expect(sum / profile.wallMs).toBeGreaterThan(0.95);
    if (backend === 'webgpu') {
      expect(profile.clock).toBe('timestamp queries');
      expect(profile.rows.slice(-2).map(({ op }) => op)).toEqual(SEEN_BY_THE_GPU);
    } else {
      expect(profile.clock).toBe('wall time');
      expect(sum / profile.wallMs).toBeLessThan(1.05);
    }
    // Nothing stays behind: not after a run, and not after one that failed.
    const failed = profileRun(() => jina.encodeText(text, { task: 'no such task' }));
    await expect(failed).rejects.toThrow(/unknown task/);
    expect(await jina.encodeText(text)).toEqual(expected);
  });

  test('the yardsticks are measured, and leave no tensor', async () => {
    const before = tf.memory().numTensors;
    const { gflops, side } = await matmulCeiling();
    expect(gflops).toBeGreaterThan(0);
    expect(side).toBeGreaterThanOrEqual(256);
    expect(await copyBandwidth()).toBeGreaterThan(0);
    expect(tf.memory().numTensors).toBe(before);
  });
});

test('operations and bytes of an op are those of its definition', () => {
  const matrix = (inSize: number, outSize: number, bytes: number) => ({
    inSize,
    outSize,
    bytes,
    storage: 'packed' as const,
    dense: () => expect.unreachable(),
    dispose: () => {},
  });
  tf.tidy(() => {
    const x: tf.Tensor2D = tf.zeros([5, 8]);
    const y = tf.zeros([5, 12]);
    const lora = [{ a: matrix(8, 2, 64), b: matrix(2, 12, 96), scale: 1, activation: 'none' as const }];
    const inputs = { x, weight: matrix(8, 12, 192), bias: tf.zeros<tf.Rank.R1>([12]), lora };
    expect(opCost({ name: 'Linear', inputs, attrs: {} }, y)).toEqual({
      op: 'Linear 8 → 12',
      flops: 2 * 5 * 8 * 12 + 2 * 5 * 2 * (8 + 12),
      bytes: 192 + 64 + 96 + 4 * (40 + 12 + 60),
    });
    // Two such maps of one input: 8 columns and the 4 of each low-rank term lie ready.
    const maps = [inputs, inputs];
    const eight: tf.Tensor1D = tf.zeros([8]);
    const rows: tf.Tensor2D = tf.zeros([5, 16]);
    expect(opCost({ name: 'NormLow', inputs: { x, weight: eight, maps }, attrs: {} }, rows)).toEqual({
      op: 'RmsNorm and LoRA A',
      flops: 4 * 40 + 2 * 5 * 8 * 4,
      bytes: 2 * 64 + 4 * (40 + 8 + 80),
    });
    const both = { flops: 2 * 2 * 5 * 12 * (8 + 2), bytes: 2 * (192 + 96) + 4 * (80 + 2 * 12) };
    const table = tf.zeros([5, 4]);
    const joined = tf.zeros([5, 24]);
    expect(
      opCost({ name: 'Heads', inputs: { rows, maps, cos: table, sin: table }, attrs: {} }, joined),
    ).toEqual({
      op: 'Heads 8 → 12 + 12',
      flops: both.flops,
      bytes: both.bytes + 4 * (20 + 20 + 120),
    });
    expect(opCost({ name: 'Gated', inputs: { rows, gate: inputs, up: inputs }, attrs: {} }, y)).toEqual({
      op: 'Gated 8 → 12 ⊙ 12',
      flops: both.flops,
      bytes: both.bytes + 4 * 60,
    });
    const q = tf.zeros([5, 16]);
    const k = tf.zeros([5, 4]);
    const attention = (causal: boolean) =>
      opCost(
        { name: 'Attention', inputs: { q, k, v: k }, attrs: { cuSeqlens: cumulate([2, 3]), causal } },
        q,
      );
    expect(attention(false).flops).toBe(4 * (2 * 2 + 3 * 3) * 16);
    expect(attention(true).flops).toBe(2 * (2 * 2 + 3 * 3) * 16);
    expect(attention(true).bytes).toBe(4 * (80 + 20 + 20 + 80));
  });
});
