import * as tf from '@tensorflow/tfjs-core';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { gpuIdle, trimBufferPool } from '../../src/device-webgpu.ts';
import { BACKENDS, startBackend } from '../../test/support/backends.ts';
import { expectTensorClose, gaussian, gaussianTensor } from '../../test/support/close.ts';
import { checkGpu } from '../../test/support/gpu.ts';
import { rawMatrix, WORDS } from '../../test/support/matrices.ts';
import { composed, float32Matrix, type LoraTerm, type Matrix, matrixStore } from '../index.ts';
import type { Words } from '../linear/weight-layouts.ts';
import { webgpuBackend } from '../webgpu/backend.ts';
import { runCounts } from '../webgpu/run.ts';
import { type AffineMap, fansOut, gated, heads, normLow } from './fan.ts';
import { stackOf } from './stack.webgpu.ts';

type Two = tf.Tensor2D;
const [T, D, H] = [12, 32, 8];

type Kind = keyof ReturnType<typeof matrixStore>; // the same values in both

function stored(outSize: number, inSize: number, seed: number, words: Words, kind: Kind = 'packed'): Matrix {
  const values = gaussian(outSize * inSize, seed).map((v) => v / Math.sqrt(inSize));
  return matrixStore()[kind](rawMatrix(values, words, outSize, inSize));
}

const termOf = (out: number, seed: number, words: Words, kind?: Kind): LoraTerm => ({
  a: stored(4, D, seed, words, kind),
  b: stored(out, 4, seed + 1, words, kind),
  scale: 1,
  activation: 'none',
});

const mapsOf = (words: Words, lora: Words = 'bfloat16', kind?: Kind): AffineMap[] =>
  [2 * H, H, H].map((out, i) => ({
    weight: stored(out, D, 10 * i, words, kind),
    bias: tf.tensor1d(gaussian(out, 10 * i + 5)),
    lora: [termOf(out, 10 * i + 6, lora, kind)],
  }));

function disposeMaps(maps: readonly AffineMap[]): void {
  for (const { weight, bias, lora } of maps) {
    for (const m of [weight, ...lora.flatMap(({ a, b }) => [a, b])]) m.dispose();
    bias?.dispose();
  }
}

const fan = (maps: readonly AffineMap[]) => fansOut({ maps, rows: T, outputs: 4 * H });

describe.skipIf(!BACKENDS.includes('webgpu'))('maps of one input on webgpu', { timeout: 300_000 }, () => {
  beforeAll(() => startBackend('webgpu'));
  afterEach(async () => {
    await gpuIdle();
    await checkGpu();
  });

  const inputs = () => ({
    x: gaussianTensor([T, D], 1),
    weight: tf.tensor1d(gaussian(D, 2)),
    cos: gaussianTensor([T, H], 3),
    sin: gaussianTensor([T, H], 4),
  });

  /** Queries, keys and values; and the first two maps as gate and up. */
  const all = (maps: readonly AffineMap[], { x, weight, cos, sin }: ReturnType<typeof inputs>) =>
    tf.tidy(() => {
      const rows = normLow({ x, weight, maps }, { eps: 1e-6 });
      const [, gate, up] = maps;
      const pair = normLow({ x, weight, maps: [gate, up] }, { eps: 1e-6 });
      return [heads({ rows, maps, cos, sin }, { turned: 3 }), gated({ rows: pair, gate, up })] as [Two, Two];
    });

  test('are a dispatch with all that belongs to them, and make nothing new when they come again', async () => {
    const maps = mapsOf('bfloat16');
    const given = inputs();
    const turn = async () => {
      const before = runCounts();
      const made = all(maps, given);
      const after = runCounts();
      await Promise.all(made.map((t) => t.data()));
      tf.dispose(made);
      return {
        dispatches: after.dispatches - before.dispatches,
        made: after.pipelines + after.bindGroups - before.pipelines - before.bindGroups,
      };
    };
    expect((await turn()).dispatches).toBe(4);
    await turn(); // the pool has handed out its buffers in another order
    const turns = [await turn(), await turn(), await turn()];
    expect(turns.map(({ dispatches }) => dispatches)).toEqual([4, 4, 4]);
    expect(turns.map(({ made }) => made)).toEqual([0, 0, 0]);
    disposeMaps(maps);
    tf.dispose(Object.values(given));
  });

  test.each(WORDS.slice(1))('%s and the float32 of the same values give the same bits', async (words) => {
    const given = inputs();
    const [packed, wide] = await Promise.all(
      (['packed', 'float32'] as const).map(async (kind) => {
        const maps = mapsOf(words, words === 'float16' ? words : 'bfloat16', kind);
        const made = all(maps, given);
        const values = await Promise.all(made.map((t) => t.data()));
        disposeMaps(maps);
        tf.dispose(made);
        return values;
      }),
    );
    expect(packed).toEqual(wide);
    tf.dispose(Object.values(given));
  });

  test('B and bias are copied once for an adapter, and freed with it', async () => {
    const base = mapsOf('bfloat16');
    const bare = base.map((map) => ({ ...map, lora: [] }));
    const stack = stackOf(base);
    expect(stackOf(base.map((map) => ({ ...map })))).toBe(stack); // another view of the same tensors
    expect(stackOf(bare)).not.toBe(stack);
    const biases = stackOf(bare).buffer;
    let freed: GPUBuffer[] = [];
    const { destroy } = GPUBuffer.prototype;
    GPUBuffer.prototype.destroy = function () {
      freed = [...freed, this];
      return destroy.call(this);
    };
    try {
      trimBufferPool();
      expect(freed).not.toContain(stack.buffer);
      for (const { lora } of base) for (const { a, b } of lora) tf.dispose([a.dispose(), b.dispose()]);
      trimBufferPool();
      expect(freed).toContain(stack.buffer);
      expect(freed).not.toContain(biases);
      for (const { bias } of bare) bias?.dispose();
      trimBufferPool();
      expect(freed).toContain(biases);
    } finally {
      GPUBuffer.prototype.destroy = destroy;
    }
    for (const { weight } of base) weight.dispose();
  });

  test('a bias that was given new values is copied again', async () => {
    const given = inputs();
    const variable = tf.variable(tf.tensor1d(gaussian(2 * H, 5)));
    const [first, ...others] = mapsOf('bfloat16');
    const maps = [{ ...first, bias: variable as tf.Tensor1D }, ...others];
    tf.dispose(all(maps, given));
    variable.assign(tf.tensor1d(gaussian(2 * H, 6)));
    const found = all(maps, given);
    const expected = composed(() => all(maps, given));
    for (const i of [0, 1])
      await expectTensorClose(found[i], expected[i], { relativeToMax: 1e-5, what: `output ${i}` });
    disposeMaps([first, ...maps]);
    tf.dispose([found, expected, Object.values(given)]);
  });

  test('what is not alike runs map by map', () => {
    const maps = mapsOf('bfloat16');
    const [q, k, v] = maps;
    const wide = stored(H, D, 7, 'float32');
    const others = mapsOf('int4', 'float16');
    const quantised = termOf(H, 8, 'int8');
    const columns = float32Matrix(tf.zeros([D, H]));
    const [term] = v.lora;
    const dora = { magnitude: tf.ones([H]) as tf.Tensor1D, norm: tf.ones([H]) as tf.Tensor1D, weight: 1 };
    expect(fan(maps)).toBe(true);
    expect(fan([q, k, { ...v, lora: [] }])).toBe(true);
    expect(fan([q, k, { ...v, weight: wide }])).toBe(true); // each map has words of its own
    expect(fan(others)).toBe(true);
    expect(fan([q, k, others[2]])).toBe(false); // its term is of other words
    expect(fan([others[0], others[1], { ...others[2], weight: v.weight }])).toBe(true);
    expect(fan([others[0], others[1], { ...others[2], lora: [term] }])).toBe(false); // of other words than its neighbours'
    expect(fan(others.map((map) => ({ ...map, lora: [term] })))).toBe(true);
    expect(fan([{ ...v, lora: [quantised] }])).toBe(false);
    expect(fan([q, k, { ...v, weight: columns }])).toBe(false);
    expect(fan([q, k, { ...v, lora: [term, term] }])).toBe(false);
    expect(fan([q, k, { ...v, lora: [{ ...term, dora }] }])).toBe(false);
    expect(fan([q, k, { ...v, lora: [{ ...term, bBias: dora.norm }] }])).toBe(false);
    expect(fan([...maps, v])).toBe(false);
    const rows = webgpuBackend().device.limits.maxStorageBufferBindingSize / (4 * 64);
    expect(fansOut({ maps, rows, outputs: 64 })).toBe(true);
    expect(fansOut({ maps, rows: rows + 1, outputs: 64 })).toBe(false);
    expect(composed(() => fan(maps))).toBe(false);
    tf.grad((x) => {
      expect(fan(maps)).toBe(false); // nothing goes back through a shader
      return tf.square(x);
    })(tf.scalar(1));
    wide.dispose();
    columns.dispose();
    disposeMaps([...maps, ...others, { weight: quantised.a, bias: null, lora: [] }]);
    quantised.b.dispose();
    tf.dispose([dora.magnitude, dora.norm]);
  });
});
