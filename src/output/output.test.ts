import fc from 'fast-check';
import { expect, test } from 'vitest';
import { fromFloat16, quantize, toFloat16 } from './quantize.ts';
import { similarityMatrix, similarityOf } from './similarity.ts';

const vector = fc.float32Array({
  minLength: 1,
  maxLength: 40,
  noNaN: true,
  noDefaultInfinity: true,
  min: -4,
  max: 4,
});

test('every binary16 pattern survives the way to a number and back', () => {
  for (let p = 0; p < 65536; p++) {
    const x = fromFloat16(p);
    if (Number.isNaN(x)) expect(Number.isNaN(fromFloat16(toFloat16(x)))).toBe(true);
    else if (x === 0 && p & 0x8000) expect(toFloat16(-0) & 0x7fff).toBe(0);
    else expect(toFloat16(x)).toBe(p);
  }
});

test('float16 rounds to nearest, ties to even', () => {
  expect(toFloat16(1 + 1 / 2048)).toBe(0x3c00);
  expect(toFloat16(1 + 3 / 2048)).toBe(0x3c02);
  expect(toFloat16(65519)).toBe(0x7bff);
  expect(toFloat16(65520)).toBe(0x7c00);
  expect(toFloat16(2 ** -25)).toBe(0);
  expect(toFloat16(2 ** -24)).toBe(1);
});

test('int8 and uint8 give the vector back within half a step of its own scale', () =>
  fc.assert(
    fc.property(vector, fc.constantFrom('int8' as const, 'uint8' as const), (x, precision) => {
      const { values, scale, zero } = quantize(x, precision);
      x.forEach((v, i) => {
        expect(Math.abs(scale * (values[i] - zero) - v)).toBeLessThanOrEqual(scale / 2 + 1e-6);
      });
    }),
  ));

test('binary: one bit a dimension, the first in the highest place, set where positive', () => {
  const x = Float32Array.of(1, -1, 0, 2, -3, 4, 5, -6, 7);
  expect([...quantize(x, 'ubinary').values]).toEqual([0b10010110, 0b10000000]);
  expect([...quantize(x, 'binary').values]).toEqual([0b10010110 - 128, 0]);
});

test('cosine of a quantised pair is close to that of the originals', () => {
  const a = Float32Array.from({ length: 256 }, (_, i) => Math.sin(i));
  const b = Float32Array.from({ length: 256 }, (_, i) => Math.sin(i + 0.3));
  const exact = similarityOf(a, b);
  for (const precision of ['float16', 'int8', 'uint8'] as const) {
    expect(similarityOf(quantize(a, precision).values, quantize(b, precision).values)).toBeCloseTo(exact, 2);
  }
});

test('maxsim is the sum over query rows of the best page row, negative maxima included', () => {
  const query = [Float32Array.of(1, 0), Float32Array.of(0, 1)];
  const page = [Float32Array.of(0.5, -1), Float32Array.of(0.25, -2)];
  expect(similarityOf(query, page)).toBe(0.5 - 1);
});

test('hamming counts agreeing bits from −1 to 1', () => {
  expect(similarityOf(Uint8Array.of(0b11110000), Uint8Array.of(0b11110000), 'hamming')).toBe(1);
  expect(similarityOf(Int8Array.of(0), Int8Array.of(-1), 'hamming')).toBe(-1);
});

test('what cannot be compared is refused', () => {
  const single = Float32Array.of(1, 0);
  expect(() => similarityOf(single, [single])).toThrow('cannot be compared with a multi-vector');
  expect(() => similarityOf(single, Float32Array.of(1))).toThrow('embeddings have 2 and 1 values');
  expect(() => similarityOf(single, single, 'maxsim')).toThrow('needs multi-vectors');
  expect(() => similarityOf([single], [single], 'dot')).toThrow('compares single vectors');
});

test('the matrix holds every pair', () => {
  const [a, b] = [Float32Array.of(1, 0), Float32Array.of(0, 2)];
  expect(similarityMatrix([a, b], [a, b, a])).toEqual([
    [1, 0, 1],
    [0, 1, 0],
  ]);
});
