import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { BACKENDS, onEveryBackend } from '../../test/support/backends.ts';
import { expectClose, gaussian } from '../../test/support/close.ts';
import { assemble } from './assembler.ts';
import { type Gemm, gemmOn, type Product } from './gemm.ts';
import { gemmFunctions } from './gemm-code.ts';
import { addressOf, wasmBackend } from './heap.ts';

type Case = {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly layout: NonNullable<Product['layout']>;
  readonly bias: boolean;
  readonly accumulate: boolean;
  readonly alpha: number;
};

test('the module is valid for a shared memory and for a plain one', () => {
  for (const shared of [true, false]) {
    expect(WebAssembly.validate(assemble(gemmFunctions(), { shared }) as Uint8Array<ArrayBuffer>)).toBe(true);
  }
});

onEveryBackend(
  () => {
    test('agrees with double precision for any shape, layout, bias and factor', () =>
      fc.assert(
        fc.property(
          fc.record({
            m: fc.integer({ min: 1, max: 70 }),
            n: fc.integer({ min: 1, max: 150 }),
            k: fc.integer({ min: 1, max: 530 }),
            layout: fc.constantFrom('rows', 'columns', 'bfloat16Columns'),
            bias: fc.boolean(),
            accumulate: fc.boolean(),
            alpha: fc.constantFrom(1, 0.5, -2),
          }),
          agrees,
        ),
        { numRuns: 60 },
      ));

    test('at the edges of tiles, panels, strips and depths', () => {
      for (const [m, n, k] of [
        [1, 1, 1],
        [3, 7, 3],
        [4, 8, 4],
        [5, 9, 5],
        [64, 64, 256],
        [65, 65, 257],
        [63, 63, 255],
      ]) {
        for (const layout of ['rows', 'columns', 'bfloat16Columns'] as const) {
          agrees({ m, n, k, layout, bias: true, accumulate: true, alpha: 1 });
        }
      }
    });

    test('a product that threads share has the bits of its rows alone', () => {
      const { m, n, k } = { m: 48, n: 520, k: 300 }; // 7.5 million multiplications: worth waking threads
      expect(gemm().threads).toBeGreaterThan(1);
      const a = tf.tensor2d(gaussian(m * k, 1), [m, k]);
      const b = tf.tensor2d(gaussian(k * n, 2), [k, n]);
      const all = multiplied(a, b, [m, n, k]);
      for (const row of [0, 17, 47]) {
        const one = tf.slice(a, [row, 0], [1, k]);
        expect(multiplied(one, b, [1, n, k])).toEqual(all.slice(row * n, (row + 1) * n));
        one.dispose();
      }
      tf.dispose([a, b]);
    });
  },
  BACKENDS.filter((b) => b === 'wasm'),
);

const gemm = (): Gemm => gemmOn(wasmBackend()) as Gemm;

function multiplied(a: tf.Tensor2D, b: tf.Tensor2D, [m, n, k]: readonly number[]): Float32Array {
  const c = tf.zeros([m, n]);
  const [from, by, to] = [a, b, c].map((t) => addressOf(wasmBackend(), t));
  gemm().multiply({
    ...{ m, n, k },
    a: { address: from, stride: 4 * k },
    b: { address: by, stride: 4 * n },
    c: { address: to, stride: 4 * n },
  });
  const values = c.dataSync<'float32'>();
  c.dispose();
  return values;
}

function agrees({ m, n, k, layout, bias, accumulate, alpha }: Case): void {
  const bfloat = layout === 'bfloat16Columns';
  const [x, y, z, w] = [m * k, n * k, m * n, n].map((size, i) => gaussian(size, i + 1));
  const words = Uint16Array.from(new Uint32Array(y.buffer), (bits) => bits >>> 16);
  if (bfloat) y.set(new Float32Array(Uint32Array.from(words, (bits) => bits << 16).buffer));
  const even = new Uint16Array(2 * Math.ceil(words.length / 2));
  even.set(words);
  const tensors = [
    tf.tensor1d(x),
    bfloat ? tf.tensor1d(new Int32Array(even.buffer), 'int32') : tf.tensor1d(y),
    tf.tensor1d(z.slice()),
    tf.tensor1d(w),
  ];
  const [a, b, c, d] = tensors.map((t) => addressOf(wasmBackend(), t));
  const bStride = layout === 'rows' ? 4 * n : bfloat ? 2 * k : 4 * k;
  gemm().multiply({
    ...{ m, n, k, layout, accumulate, alpha },
    a: { address: a, stride: 4 * k },
    b: { address: b, stride: bStride },
    c: { address: c, stride: 4 * n },
    bias: bias ? d : 0,
  });
  const expected = Float64Array.from(z, (before, at) => {
    const [row, column] = [Math.floor(at / n), at % n];
    let sum = 0;
    for (let i = 0; i < k; i++)
      sum += x[row * k + i] * (layout === 'rows' ? y[i * n + column] : y[column * k + i]);
    return alpha * sum + (bias ? w[column] : 0) + (accumulate ? before : 0);
  });
  const found = tensors[2].dataSync<'float32'>();
  tf.dispose(tensors);
  expectClose(found, expected, {
    relativeToMax: 2e-6,
    what: JSON.stringify({ m, n, k, layout, bias, accumulate }),
  });
}
