import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { gpuIdle } from '../../src/device-webgpu.ts';
import { gpuRowBytes } from '../../src/gpu-plan.ts';
import { BACKENDS, expectNoLeak, startBackend } from '../../test/support/backends.ts';
import { onBothGpus } from '../../test/support/both-gpus.ts';
import { expectClose, gaussian } from '../../test/support/close.ts';
import { checkGpu } from '../../test/support/gpu.ts';
import { rawMatrix, valuesOf } from '../../test/support/matrices.ts';
import { widenInto } from '../../weights/dtypes.ts';
import { narrowToF16 } from '../../weights/narrow.ts';
import { quantRowBytes } from '../../weights/quantization.ts';
import type { Span } from '../pool/pool.ts';
import { linear } from './linear.ts';
import { float32Matrix, type Matrix } from './matrix.ts';
import { isQuantized, matrixStore, type RawMatrix } from './matrix-store.ts';
import { isRows, type RowMatrix, webgpuStore } from './webgpu-store.ts';
import type { Words } from './weight-layouts.ts';

type Packing = Exclude<Words, 'float32'>;
const PACKINGS: readonly Packing[] = ['bfloat16', 'float16', 'int8', 'int4'];

type Values = { readonly scale?: number; readonly words?: Packing; readonly outliers?: boolean };

/** A matrix as checkpoints have it, [out, in]; and the values that it stands for. */
function checkpoint(
  outSize: number,
  inSize: number,
  seed: number,
  { scale = 1 / Math.sqrt(inSize), words = 'bfloat16', outliers = false }: Values = {},
): { raw: RawMatrix; values: Float32Array } {
  const values = gaussian(outSize * inSize, seed).map(
    (v, i) => v * scale * (outliers && i % 37 === 5 ? 300 : 1),
  );
  const raw = rawMatrix(values, words, outSize, inSize);
  return { raw, values: valuesOf(raw) };
}

/** x [T, in] · wᵀ, w: [out, in], in double precision. */
function product(
  x: ArrayLike<number>,
  w: ArrayLike<number>,
  T: number,
  inSize: number,
  outSize: number,
): Float64Array {
  const y = new Float64Array(T * outSize);
  for (let t = 0; t < T; t++) {
    for (let o = 0; o < outSize; o++) {
      let sum = 0;
      for (let i = 0; i < inSize; i++) sum += x[t * inSize + i] * w[o * inSize + i];
      y[t * outSize + o] = sum;
    }
  }
  return y;
}

type Case = {
  readonly T: number;
  readonly In: number;
  readonly Out: number;
  /** Ranks of the low-rank terms. */
  readonly ranks?: readonly number[];
  readonly bias?: boolean;
  readonly gate?: boolean;
  readonly residual?: boolean;
  /** Size of the values of x. */
  readonly size?: number;
  /** Of W. */
  readonly words?: Packing;
  readonly outliers?: boolean;
  /** Rows of x that the first term is for. Not given: all. */
  readonly rows?: Span;
};

async function check({
  T,
  In,
  Out,
  ranks = [],
  bias = false,
  gate = false,
  residual = false,
  size = 1,
  words = 'bfloat16',
  outliers,
  rows,
}: Case) {
  const x = gaussian(T * In, 1).map((v) => v * size);
  const w = checkpoint(Out, In, 2, { words, outliers });
  const ofTerms = words === 'float16' ? words : 'bfloat16'; // adapters are not quantised
  const terms = ranks.map((R, i) => ({
    a: checkpoint(R, In, 10 + i, { words: ofTerms }),
    b: checkpoint(Out, R, 20 + i, { words: ofTerms }),
    scale: i % 2 === 0 ? 0.5 : -2,
    activation: i % 2 === 0 ? ('none' as const) : ('relu' as const),
    rows: i === 0 ? rows : undefined,
  }));
  const [b, g, r] = [gaussian(Out, 3), gaussian(T * Out, 4).map((v) => 3 * v), gaussian(T * Out, 5)];
  const expected = product(x, w.values, T, In, Out).map((y, i) => y + (bias ? b[i % Out] : 0));
  for (const { a, b, scale, activation, rows: { begin, end } = { begin: 0, end: T } } of terms) {
    const R = a.raw.outSize;
    const low = product(x, a.values, T, In, R).map((v) => (activation === 'relu' ? Math.max(v, 0) : v));
    product(low, b.values, T, R, Out).forEach((v, i) => {
      if (begin * Out <= i && i < end * Out) expected[i] += scale * v;
    });
  }
  if (gate)
    g.forEach((v, i) => {
      expected[i] *= v / (1 + Math.exp(-v));
    });
  if (residual)
    r.forEach((v, i) => {
      expected[i] += v;
    });

  const store = matrixStore();
  const compute = (make: (raw: RawMatrix) => Matrix, makeB = make) =>
    expectNoLeak(async () => {
      const tensor = (data: Float32Array): tf.Tensor2D => tf.tensor2d(data, [T, Out]);
      const inputs = {
        x: tf.tensor2d(x, [T, In]),
        weight: make(w.raw),
        bias: bias ? tf.tensor1d(b) : null,
        lora: terms.map((l) => ({ ...l, a: make(l.a.raw), b: makeB(l.b.raw) })),
        gate: gate ? tensor(g) : undefined,
        residual: residual ? tensor(r) : undefined,
      };
      const y = linear(inputs);
      const values = (await y.data()) as Float32Array;
      for (const m of [inputs.weight, ...inputs.lora.flatMap((l) => [l.a, l.b])]) m.dispose();
      for (const t of [inputs.x, inputs.bias, inputs.gate, inputs.residual, y]) t?.dispose();
      return values;
    });
  const what = `linear ${JSON.stringify({ T, In, Out, ranks, bias, gate, residual, size, words, outliers, rows })}`;
  const packed = await compute(store.packed);
  expectClose(packed, expected, { relativeToMax: 1e-5, what });
  const sameBits = (found: Float32Array, other: string) =>
    expect(Buffer.from(found.buffer).equals(Buffer.from(packed.buffer)), `${what}: bits of ${other}`).toBe(
      true,
    );
  sameBits(await compute(store.float32), 'float32 rows');
  const inParts = (raw: RawMatrix) => {
    const rowBytes = isQuantized(raw)
      ? gpuRowBytes(raw.format, raw.inSize)
      : gpuRowBytes('bfloat16', raw.inSize);
    return webgpuStore(5 * rowBytes).packed(raw); // of five rows
  };
  sameBits(await compute(inParts, store.packed), 'matrices in parts');
  expectClose(await compute(inParts), expected, { relativeToMax: 1e-5, what: `${what}, B in parts` }); // added up otherwise
  // A tensor [in, out], as an adapter of plain numbers has it.
  const asColumns = (raw: RawMatrix) => {
    const rows = store.float32(raw);
    const columns = tf.tidy(() => tf.clone(rows.dense()));
    rows.dispose();
    return float32Matrix(columns);
  };
  sameBits(await compute(asColumns), 'columns');
}

onBothGpus('linear on webgpu', () => {
  test.each<Case>([
    { T: 1, In: 1, Out: 1, ranks: [1], bias: true },
    { T: 1, In: 2048, Out: 257, ranks: [32], residual: true },
    { T: 8, In: 1176, Out: 96, ranks: [16], gate: true }, // the last of the few
    { T: 9, In: 64, Out: 65, ranks: [16], bias: true },
    { T: 300, In: 40, Out: 1, bias: true },
    { T: 31, In: 33, Out: 127, ranks: [3], bias: true, gate: true, residual: true },
    { T: 32, In: 16, Out: 128, bias: true },
    { T: 33, In: 15, Out: 129, gate: true },
    { T: 63, In: 17, Out: 2047, ranks: [5], residual: true },
    { T: 64, In: 64, Out: 2048, ranks: [8], bias: true },
    { T: 65, In: 61, Out: 2049, ranks: [7] },
    { T: 13, In: 101, Out: 211, ranks: [4, 9, 2], bias: true, gate: true, residual: true },
  ])('x Wᵀ + b + Σ scale · act(x A) B, gated and added: $T × $In → $Out, $ranks', (one) => check(one));

  test.each<Case>([
    { T: 3, In: 2048, Out: 256, ranks: [32], bias: true }, // k_proj
    { T: 70, In: 2048, Out: 1024, ranks: [32], bias: true, residual: true }, // half of q_proj
    { T: 40, In: 11008, Out: 128, ranks: [32], residual: true }, // some of down_proj
    { T: 40, In: 3420, Out: 160, bias: true, residual: true }, // of the tower: no multiple of eight
  ])('sizes of the model: $T × $In → $Out', (one) => check(one));

  test.each<Case>([
    { T: 1, In: 64, Out: 40, ranks: [4], rows: { begin: 0, end: 1 } },
    { T: 7, In: 64, Out: 40, ranks: [4], rows: { begin: 6, end: 7 }, bias: true },
    { T: 40, In: 65, Out: 130, ranks: [5, 3], rows: { begin: 0, end: 9 }, bias: true, residual: true },
    { T: 70, In: 64, Out: 66, ranks: [32], rows: { begin: 31, end: 65 }, words: 'int8', gate: true },
  ])('a term for some rows only: $rows of $T', (one) => check(one));

  test.each([1e-18, 1e6, 1e18])('values around %d', (size) =>
    check({ T: 20, In: 300, Out: 70, ranks: [8], size }),
  );

  test.each(
    PACKINGS.flatMap((words) => [
      { words, T: 1, In: 1, Out: 1, bias: true },
      { words, T: 1, In: 2048, Out: 257, ranks: [32], residual: true },
      { words, T: 2, In: 33, Out: 1, ranks: [1], outliers: true },
      { words, T: 8, In: 1176, Out: 96, ranks: [16], gate: true },
      { words, T: 31, In: 31, Out: 63, ranks: [3], bias: true, outliers: true },
      { words, T: 33, In: 97, Out: 65, gate: true, residual: true },
      { words, T: 65, In: 61, Out: 2049, ranks: [7] }, // large tiles
      { words, T: 64, In: 129, Out: 131, size: 1e6, outliers: true },
      { words, T: 40, In: 3420, Out: 160, bias: true, residual: true },
    ]),
  )('$words weights: $T × $In → $Out, $ranks', (one) => check(one));

  test('any shape, any terms, any weights', () => {
    const seed = Date.now() % 2 ** 31;
    console.log(`linear on webgpu: random shapes with seed ${seed}`);
    return fc.assert(
      fc.asyncProperty(
        fc.record({
          T: fc.integer({ min: 1, max: 80 }),
          In: fc.integer({ min: 1, max: 140 }),
          Out: fc.integer({ min: 1, max: 140 }),
          ranks: fc.array(fc.integer({ min: 1, max: 33 }), { maxLength: 2 }),
          bias: fc.boolean(),
          gate: fc.boolean(),
          residual: fc.boolean(),
          words: fc.constantFrom(...PACKINGS),
          outliers: fc.boolean(),
        }),
        check,
      ),
      { numRuns: 30, seed },
    );
  });
});

describe.skipIf(!BACKENDS.includes('webgpu'))('matrices on webgpu', () => {
  beforeAll(() => startBackend('webgpu'));
  afterEach(async () => {
    await gpuIdle();
    await checkGpu();
  });

  const transpose = (values: Float32Array, rows: number, columns: number) =>
    Float32Array.from(
      { length: values.length },
      (_, i) => values[(i % rows) * columns + Math.floor(i / rows)],
    );

  test.each(
    PACKINGS.flatMap((words) => [
      { words, Out: 7, In: 12 },
      { words, Out: 12, In: 7 },
      { words, Out: 13, In: 67 },
      { words, Out: 1, In: 1 },
    ]),
  )(
    '$words [$Out, $In] is lent as [in, out], the same whole and in parts, packed and float32',
    async ({ words, Out, In }) => {
      const scale = words === 'bfloat16' || words === 'int8' ? 1e30 : 1e3;
      const { raw, values } = checkpoint(Out, In, 1, { words, scale });
      for (const limit of [1 << 20, 128]) {
        for (const kind of ['packed', 'float32'] as const) {
          const rowBytes = gpuRowBytes(
            kind === 'float32' ? kind : words === 'float16' ? 'bfloat16' : words,
            In,
          );
          await expectNoLeak(async () => {
            const matrix = webgpuStore(limit)[kind](raw) as RowMatrix;
            expect(matrix.words).toBe(kind === 'packed' ? words : 'float32');
            expect(matrix.parts.length).toBe(Math.ceil(Out / Math.max(1, Math.floor(limit / rowBytes))));
            expect(matrix.bytes / (Out * rowBytes)).toBeCloseTo(1, 0);
            const lent = tf.tidy(() => tf.clone(matrix.dense()));
            expect(lent.shape).toEqual([In, Out]);
            expect(await lent.data()).toEqual(transpose(values, Out, In));
            tf.dispose(lent);
            matrix.dispose();
          });
        }
      }
    },
  );

  test('every float16 word is the number that it is elsewhere, the smallest too', async () => {
    const words = Uint16Array.from({ length: 1 << 16 }, (_, i) => i).filter((w) => (w & 0x7c00) !== 0x7c00);
    const raw: RawMatrix = {
      bytes: new Uint8Array(words.buffer),
      dtype: 'F16',
      outSize: words.length / 1024,
      inSize: 1024,
    };
    const expected = new Float32Array(words.length);
    widenInto(raw.bytes, 'F16', expected);
    const matrix = webgpuStore(1 << 20).packed(raw);
    const lent = tf.tidy(() => tf.clone(matrix.dense()));
    expect(await lent.data()).toEqual(transpose(expected, raw.outSize, 1024));
    tf.dispose(lent);
    matrix.dispose();
  });

  test('bytes go to the buffer as they lie in the file, large matrices in steps', async () => {
    // 17 MB of codes and, of an odd number of rows, scales that do not fill their last word
    const [outSize, inSize] = [1063, 32 * 1001];
    const { codes, scales } = quantRowBytes('int4', inSize);
    const rows = {
      codes: new Uint8Array(outSize * codes).map((_, i) => (i * 167) >> 3),
      scales: new Uint8Array(narrowToF16(gaussian((outSize * scales) / 2, 3)).buffer),
    };
    const matrix = webgpuStore(1 << 27).packed({ format: 'int4', rows, outSize, inSize }) as RowMatrix;
    expect(matrix.parts.length).toBe(1);
    const found = Buffer.from(((await matrix.parts[0].tensor.data()) as Int32Array).buffer);
    expect(found.subarray(0, rows.codes.length).equals(Buffer.from(rows.codes.buffer))).toBe(true);
    const behind = found.subarray(rows.codes.length);
    expect(behind.length).toBe(4 * Math.ceil(rows.scales.length / 4));
    expect(behind.subarray(0, rows.scales.length).equals(Buffer.from(rows.scales.buffer))).toBe(true);
    matrix.dispose();
  });

  test('every bfloat16 word widens to its own bits', async () => {
    const words = Uint16Array.from({ length: 1 << 16 }, (_, i) => i);
    const raw: RawMatrix = { bytes: new Uint8Array(words.buffer), dtype: 'BF16', outSize: 64, inSize: 1024 };
    const matrix = webgpuStore(1 << 20).packed(raw);
    const lent = tf.tidy(() => tf.clone(matrix.dense()));
    const found = new Uint32Array(((await lent.data()) as Float32Array).buffer);
    const wrong = found.findIndex((bits, i) => bits !== (((i % 64) * 1024 + Math.floor(i / 64)) << 16) >>> 0);
    expect(wrong).toBe(-1);
    tf.dispose(lent);
    matrix.dispose();
  });

  test('an update is seen by products; packed words cannot be updated', async () => {
    const { raw, values } = checkpoint(10, 6, 1);
    const store = webgpuStore(3 * 32); // three rows a part
    const matrix = store.float32(raw);
    matrix.update?.((dense) => tf.mul(dense, 2));
    const x = tf.tensor2d(gaussian(4 * 6, 2), [4, 6]);
    const y = linear({ x, weight: matrix, bias: null, lora: [] });
    const expected = product(await x.data(), values, 4, 6, 10).map((v) => 2 * v);
    expectClose(await y.data(), expected, { relativeToMax: 1e-6, what: 'updated' });
    expect(isRows(matrix) && matrix.parts.length).toBe(4);
    const packed = store.packed(raw);
    expect(packed.update).toBeUndefined();
    tf.dispose([x, y]);
    matrix.dispose();
    packed.dispose();
  });

  test('other number formats become float32', async () => {
    const values = gaussian(5 * 6, 1);
    const f32 = { bytes: new Uint8Array(values.buffer), dtype: 'F32', outSize: 5, inSize: 6 } as const;
    const f64 = { ...f32, bytes: new Uint8Array(Float64Array.from(values).buffer), dtype: 'F64' } as const;
    for (const raw of [f32, f64]) {
      const matrix = matrixStore().packed(raw);
      expect(matrix.storage).toBe('float32');
      const lent = tf.tidy(() => tf.clone(matrix.dense()));
      expect(await lent.data()).toEqual(transpose(values, 5, 6));
      tf.dispose(lent);
      matrix.dispose();
    }
  });
});
