import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { onEveryBackend } from '../../test/support/backends.ts';
import { expectClose, gaussian } from '../../test/support/close.ts';
import { widenInto } from '../../weights/dtypes.ts';
import { narrowToBf16, narrowToF16 } from '../../weights/narrow.ts';
import { decodeRows, encodeRows } from '../../weights/quantization.ts';
import { assemble } from './assembler.ts';
import { Gemm, gemmOn, type Product } from './gemm.ts';
import { gemmFunctions } from './gemm-code.ts';
import { addressOf, type WasmBackend, wasmBackend } from './heap.ts';
import { LAYOUT, type Layout } from './widen-code.ts';

type Case = {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly layout: Layout;
  readonly bias: boolean;
  readonly accumulate: boolean;
  readonly alpha: number;
};

const LAYOUTS = Object.keys(LAYOUT) as Layout[];
const NARROW = LAYOUTS.filter((layout) => layout !== 'rows' && layout !== 'columns');

test('the module is valid for a shared memory and for a plain one', () => {
  for (const shared of [true, false]) {
    expect(WebAssembly.validate(assemble(gemmFunctions(), { shared }) as Uint8Array<ArrayBuffer>)).toBe(true);
  }
});

test.each(LAYOUTS)(
  '%s: nothing is read behind the end of memory, nothing written but C and what is reserved',
  (layout) => {
    const memory = new WebAssembly.Memory({ initial: 8 });
    let reserved = 16;
    const _malloc = (bytes: number) => {
      reserved += bytes;
      return reserved - bytes;
    };
    const place = (bytes: number) => 16 * Math.ceil(_malloc(bytes + 16) / 16);
    const [m, a, c] = [2, place(4 * 2 * 300), place(4 * 2 * 70)];
    const alone = Gemm.on({
      wasm: { wasmMemory: memory, asm: {}, _malloc },
    } as unknown as WasmBackend) as Gemm;
    for (const n of [1, 3, 5, 8, 9, 66]) {
      for (const k of [1, 3, 17, 33, 255, 256, 257]) {
        const { rows, scales = new Uint8Array(0) } = laidDown(layout, gaussian(n * k, 1), n, k).stored;
        const columns = layout === 'rows' ? k : n;
        for (const last of [rows, scales]) {
          const all = new Uint8Array(memory.buffer);
          const end = all.length;
          const first = last === rows ? scales : rows;
          const [lastAt, firstAt] = [end - last.length, end - last.length - first.length];
          all.set(last, lastAt);
          all.set(first, firstAt);
          all.fill(0xa5, reserved, firstAt);
          const before = all.slice(reserved);
          alone.multiply({
            ...{ m, n, k, layout },
            a: { address: a, stride: 4 * k },
            b: { address: last === rows ? lastAt : firstAt, stride: rows.length / columns },
            scales: { address: last === rows ? firstAt : lastAt, stride: scales.length / columns },
            c: { address: c, stride: 4 * n },
          });
          expect(Buffer.compare(before, all.subarray(reserved)), `${n} ${k}`).toBe(0);
        }
      }
    }
  },
);

onEveryBackend(() => {
  test('agrees with double precision for any shape, layout, bias and factor', () =>
    fc.assert(
      fc.property(
        fc.record({
          m: fc.integer({ min: 1, max: 70 }),
          n: fc.integer({ min: 1, max: 150 }),
          k: fc.integer({ min: 1, max: 530 }),
          layout: fc.constantFrom(...LAYOUTS),
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
      for (const layout of LAYOUTS) agrees({ m, n, k, layout, bias: true, accumulate: true, alpha: 1 });
    }
  });

  test('narrow numbers of any shape, wherever they lie, have the bits of the same numbers widened first', () =>
    fc.assert(
      fc.property(
        fc.constantFrom(...NARROW),
        fc.integer({ min: 1, max: 9 }),
        fc.integer({ min: 1, max: 140 }),
        fc.integer({ min: 1, max: 600 }),
        fc.integer({ min: 0, max: 17 }),
        sameBits,
      ),
      { numRuns: 100 },
    ));

  test.each(NARROW)(
    '%s: the same bits at the edges of groups, words, panels, strips and depths',
    (layout) => {
      for (const n of [1, 3, 4, 5, 8, 9, 63, 64, 65]) {
        for (const k of [1, 4, 15, 16, 17, 31, 32, 33, 255, 256, 257, 288, 289]) sameBits(layout, 5, n, k, 0);
      }
    },
  );

  test('every float16 there is, infinities, NaNs and subnormals too, one by one and in blocks', () => {
    const n = 2 ** 16;
    for (const k of [1, 8]) {
      const words = Uint16Array.from({ length: n * k }, (_, i) => Math.floor(i / k));
      const bytes = new Uint8Array(words.buffer);
      const widened = new Float32Array(words.length);
      widenInto(bytes, 'F16', widened);
      const a = tf.ones([1, k]);
      const found = multiplied(a, { layout: 'float16Columns', rows: bytes }, [1, n, k]);
      const expected = Float32Array.from({ length: n }, (_, j) => k * widened[j * k] + 0);
      expect(found).toEqual(expected);
      a.dispose();
    }
  });

  test('int8 of any byte and scale: −128, subnormal, negative and infinite ones', () => {
    const scales = Float32Array.of(0.3, -1e-40, 2 ** -149, 3e38, Infinity, -0, NaN);
    const [n, k] = [scales.length, 256];
    const codes = Int8Array.from({ length: n * k }, (_, i) => i);
    const rows = new Uint8Array(codes.buffer);
    const widened = Float32Array.from(codes, (code, i) => code * scales[Math.floor(i / k)]);
    const a = tf.eye(k);
    const stored = { layout: 'int8Columns', rows, scales: new Uint8Array(scales.buffer) } as const;
    const plain = { layout: 'columns', rows: new Uint8Array(widened.buffer) } as const;
    expect(multiplied(a, stored, [k, n, k])).toEqual(multiplied(a, plain, [k, n, k]));
    a.dispose();
  });

  test.each(LAYOUTS)('%s: a product that threads share has the bits of its rows alone', (layout) => {
    const { m, n, k } = { m: 48, n: 520, k: 300 }; // 7.5 million multiplications: worth waking threads
    expect(gemm().threads).toBeGreaterThan(1);
    const a = tf.tensor2d(gaussian(m * k, 1), [m, k]);
    const { stored } = laidDown(layout, gaussian(k * n, 2), n, k);
    const all = multiplied(a, stored, [m, n, k]);
    for (const row of [0, 17, 47]) {
      const one = tf.slice(a, [row, 0], [1, k]);
      expect(multiplied(one, stored, [1, n, k])).toEqual(all.slice(row * n, (row + 1) * n));
      one.dispose();
    }
    a.dispose();
  });
}, ['wasm']);

const gemm = (): Gemm => gemmOn(wasmBackend()) as Gemm;

/** A B as bytes, and the bytes of its scales. */
type Stored = { readonly layout: Layout; readonly rows: Uint8Array; readonly scales?: Uint8Array };

/** `values` [n, k], or [k, n] as rows, in the numbers of a layout, and what these stand for. */
function laidDown(
  layout: Layout,
  values: Float32Array,
  n: number,
  k: number,
): { stored: Stored; widened: Float32Array } {
  const bytesOf = ({ buffer, byteOffset, byteLength }: Float32Array | Uint16Array) =>
    new Uint8Array(buffer, byteOffset, byteLength);
  const widened = new Float32Array(n * k);
  if (layout === 'rows' || layout === 'columns')
    return { stored: { layout, rows: bytesOf(values) }, widened: values };
  if (layout === 'bfloat16Columns' || layout === 'float16Columns') {
    const bfloat = layout === 'bfloat16Columns';
    const rows = bytesOf(bfloat ? narrowToBf16(values) : narrowToF16(values));
    widenInto(rows, bfloat ? 'BF16' : 'F16', widened);
    return { stored: { layout, rows }, widened };
  }
  const format = layout === 'int8Columns' ? 'int8' : 'int4';
  const { codes, scales } = encodeRows(format, values, k);
  decodeRows(format, { codes, scales }, k, widened);
  return { stored: { layout, rows: codes, scales }, widened };
}

/** a · b, with the bytes of b and of its scales `shift` bytes behind the start of a tensor. */
function multiplied(
  a: tf.Tensor,
  { layout, rows, scales = new Uint8Array(0) }: Stored,
  [m, n, k]: readonly number[],
  { shift = 0, ...rest }: { shift?: number } & Pick<Product, 'bias' | 'accumulate' | 'alpha'> = {},
  c: tf.Tensor = tf.zeros([m, n]),
): Float32Array {
  const [b, s] = [rows, scales].map((bytes) => {
    const words = new Int32Array(Math.ceil((bytes.length + shift) / 4));
    new Uint8Array(words.buffer).set(bytes, shift);
    return tf.tensor1d(words, 'int32');
  });
  const [from, by, scaled, to] = [a, b, s, c].map((t) => addressOf(wasmBackend(), t));
  const columns = layout === 'rows' ? k : n;
  gemm().multiply({
    ...{ m, n, k, layout, ...rest },
    a: { address: from, stride: 4 * k },
    b: { address: by + shift, stride: rows.length / columns },
    scales: { address: scaled + shift, stride: scales.length / columns },
    c: { address: to, stride: 4 * n },
  });
  const values = c.dataSync<'float32'>();
  tf.dispose([b, s, c]);
  return values;
}

function sameBits(layout: Layout, m: number, n: number, k: number, shift: number): void {
  const { stored, widened } = laidDown(layout, gaussian(n * k, 2), n, k);
  const a = tf.tensor2d(gaussian(m * k, 1), [m, k]);
  const plain = laidDown('columns', widened, n, k).stored;
  const found = multiplied(a, stored, [m, n, k], { shift });
  expect(found, `${layout} ${m} ${n} ${k} ${shift}`).toEqual(multiplied(a, plain, [m, n, k]));
  a.dispose();
}

function agrees({ m, n, k, layout, bias, accumulate, alpha }: Case): void {
  const [x, given, z, w] = [m * k, n * k, m * n, n].map((size, i) => gaussian(size, i + 1));
  const { stored, widened: y } = laidDown(layout, given, n, k);
  const [a, c, d] = [tf.tensor2d(x, [m, k]), tf.tensor2d(z, [m, n]), tf.tensor1d(w)];
  const rest = { bias: bias ? addressOf(wasmBackend(), d) : 0, accumulate, alpha };
  const found = multiplied(a, stored, [m, n, k], rest, c);
  const expected = Float64Array.from(z, (before, at) => {
    const [row, column] = [Math.floor(at / n), at % n];
    let sum = 0;
    for (let i = 0; i < k; i++)
      sum += x[row * k + i] * (layout === 'rows' ? y[i * n + column] : y[column * k + i]);
    return alpha * sum + (bias ? w[column] : 0) + (accumulate ? before : 0);
  });
  tf.dispose([a, d]);
  expectClose(found, expected, {
    relativeToMax: 2e-6,
    what: JSON.stringify({ m, n, k, layout, bias, accumulate }),
  });
}
