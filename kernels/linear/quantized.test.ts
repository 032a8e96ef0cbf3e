import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { expectNoLeak, onEveryBackend } from '../../test/support/backends.ts';
import { gaussian } from '../../test/support/close.ts';
import { mostAlive } from '../../test/support/most-alive.ts';
import { decodeRows, encodeRows, type QuantFormat } from '../../weights/quantization.ts';
import { linear } from './linear.ts';
import type { Matrix } from './matrix.ts';
import { matrixStore } from './matrix-store.ts';

/** A quantised matrix, and what it stands for, turned to [in, out]. */
function example(format: QuantFormat, outSize: number, inSize: number) {
  const rows = encodeRows(format, gaussian(outSize * inSize, 7), inSize);
  const values = new Float32Array(outSize * inSize);
  decodeRows(format, rows, inSize, values);
  const turned = Float32Array.from(
    values,
    (_, i) => values[(i % outSize) * inSize + Math.floor(i / outSize)],
  );
  return { raw: { format, rows, outSize, inSize }, turned };
}

async function check(format: QuantFormat, outSize: number, inSize: number): Promise<void> {
  const { raw, turned } = example(format, outSize, inSize);
  await expectNoLeak(async () => {
    for (const storage of ['packed', 'float32'] as const) {
      const lent = { codes: raw.rows.codes.slice(), scales: raw.rows.scales.slice() };
      const matrix = matrixStore()[storage]({ ...raw, rows: lent });
      lent.codes.fill(0xff); // the bytes are valid during the call only
      lent.scales.fill(0xff);
      expect(matrix).toMatchObject({ storage, inSize, outSize });
      for (let use = 0; use < 2; use++) {
        const dense = tf.tidy(() => tf.clone(matrix.dense()));
        expect(dense.shape).toEqual([inSize, outSize]);
        expect(await dense.data()).toEqual(turned);
        dense.dispose();
      }
      matrix.dispose();
    }
  });
}

async function sameProduct(format: QuantFormat, T: number, outSize: number, inSize: number): Promise<void> {
  const { raw } = example(format, outSize, inSize);
  await expectNoLeak(async () => {
    const x = tf.tensor2d(gaussian(T * inSize, 3), [T, inSize]);
    const bias = tf.tensor1d(gaussian(outSize, 4));
    const [packed, widened] = [matrixStore().packed(raw), matrixStore().float32(raw)];
    const [found, expected] = [packed, widened].map((weight) => linear({ x, weight, bias, lora: [] }));
    expect(await found.data()).toEqual(await expected.data());
    for (const held of [packed, widened, found, expected, x, bias]) held.dispose();
  });
}

onEveryBackend(() => {
  test('a product by packed rows has the bits of one by the same rows widened', () =>
    fc.assert(
      fc.asyncProperty(
        fc.constantFrom<QuantFormat>('int8', 'int4'),
        fc.integer({ min: 1, max: 20 }),
        fc.integer({ min: 1, max: 70 }),
        fc.integer({ min: 1, max: 300 }),
        sameProduct,
      ),
      { numRuns: 20 },
    ));

  test('a matrix of any size becomes exactly what its codes and scales say, packed or widened', () =>
    fc.assert(
      fc.asyncProperty(
        fc.constantFrom<QuantFormat>('int8', 'int4'),
        fc.integer({ min: 1, max: 70 }),
        fc.integer({ min: 1, max: 70 }),
        check,
      ),
      { numRuns: 20 },
    ));

  test.each(['int8', 'int4'] as const)('%s, whole groups and words', (format) => check(format, 192, 128));
  test.each(['int8', 'int4'] as const)('%s, one row', (format) => check(format, 1, 64));
});

onEveryBackend(() => {
  test.each(['int8', 'int4'] as const)(
    '%s on the WebAssembly heap takes its codes and scales, and a product adds its result alone',
    async (format) => {
      const [T, outSize, inSize] = [3, 64, 96];
      const { raw } = example(format, outSize, inSize);
      const x = tf.tensor2d(gaussian(T * inSize, 3), [T, inSize]);
      const made: { dispose(): void }[] = [x];
      const held = await mostAlive(() => {
        made.push(matrixStore().packed(raw));
      });
      expect(held).toBe(raw.rows.codes.byteLength + raw.rows.scales.byteLength);
      const weight = made[1] as Matrix;
      expect(weight.bytes).toBe(held);
      const added = await mostAlive(() => {
        made.push(linear({ x, weight, bias: null, lora: [] }));
      });
      expect(added).toBe(4 * T * outSize);
      for (const one of made) one.dispose();
    },
  );
}, ['wasm']);
