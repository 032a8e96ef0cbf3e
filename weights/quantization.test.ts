import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { gaussian } from '../test/support/close.ts';
import { crc32, crcText } from './crc32.ts';
import { widenInto } from './dtypes.ts';
import { decodeRows, encodeRows, GROUP, type QuantFormat, quantRowBytes } from './quantization.ts';

const floats = (length: number, of: fc.Arbitrary<number>) =>
  fc.array(of, { minLength: length, maxLength: length }).map((v) => Float32Array.from(v));
/** A matrix of any width, also one that groups do not divide, with values over many orders of magnitude. */
const matrices = (largest: number) =>
  fc
    .record({ rows: fc.integer({ min: 1, max: 5 }), inSize: fc.integer({ min: 1, max: 70 }) })
    .chain(({ rows, inSize }) =>
      floats(
        rows * inSize,
        fc.float({ min: Math.fround(-largest), max: Math.fround(largest), noNaN: true }),
      ).map((values) => ({ rows, inSize, values })),
    );

function thereAndBack(format: QuantFormat, values: Float32Array, inSize: number): Float32Array {
  const found = new Float32Array(values.length);
  decodeRows(format, encodeRows(format, values, inSize), inSize, found);
  return found;
}

const largestOf = (values: Float32Array): number => values.reduce((m, v) => Math.max(m, Math.abs(v)), 0);

describe('int8', () => {
  test('a weight comes back within half a step of its row', () =>
    fc.assert(
      fc.property(matrices(3e38), ({ rows, inSize, values }) => {
        const found = thereAndBack('int8', values, inSize);
        for (let row = 0; row < rows; row++) {
          const range = [row * inSize, (row + 1) * inSize] as const;
          const step = Math.max(largestOf(values.subarray(...range)) / 127, 2 ** -126);
          for (let i = range[0]; i < range[1]; i++) {
            expect(Math.abs(found[i] - values[i])).toBeLessThanOrEqual((step / 2) * 1.0001);
          }
        }
      }),
    ));

  test('by hand: halves go up', () => {
    const values = Float32Array.of(1.27, -0.5, 0.004, 0, /**/ 0, 0, 0, 0, /**/ -254, 3, 1, -1);
    const { codes, scales } = encodeRows('int8', values, 4);
    expect([...new Int8Array(codes.buffer)]).toEqual([127, -50, 0, 0, 0, 0, 0, 0, -127, 2, 1, 0]);
    expect([...new Float32Array(scales.buffer)]).toEqual([Math.fround(1.27 / 127), 0, 2]);
  });
});

describe('int4', () => {
  /** Squared error of a group of the largest value / −8 for a scale: what the codec's choice has to be no worse than. */
  function errorOfLargest(group: Float32Array): number {
    const most = group.reduce((m, v) => (Math.abs(v) > Math.abs(m) ? v : m), 0);
    const scale = most / -8 || 1;
    return group.reduce((sum, v) => sum + (v - scale * Math.min(7, Math.round(v / scale))) ** 2, 0);
  }

  test('no group has a larger error than with its largest value for a scale', () =>
    fc.assert(
      fc.property(matrices(5e5), ({ rows, inSize, values }) => {
        const found = thereAndBack('int4', values, inSize);
        for (let row = 0; row < rows; row++) {
          for (let begin = 0; begin < inSize; begin += GROUP) {
            const range = [row * inSize + begin, row * inSize + Math.min(begin + GROUP, inSize)] as const;
            const group = values.subarray(...range);
            const error = found.subarray(...range).reduce((sum, x, i) => sum + (x - group[i]) ** 2, 0);
            // A float16 scale has 11 bits, or is a multiple of 2^-24.
            const power = group.reduce((sum, v) => sum + v * v, 0);
            const ofScales = power * 2 ** -20 + group.length * 2 ** -42;
            expect(error).toBeLessThanOrEqual(errorOfLargest(group) * 1.001 + ofScales);
          }
        }
      }),
    ));

  test('a fit beyond the largest float16 takes that one', () => {
    const values = Float32Array.of(462968.625, 332418.09375, -499999.53125, 499999.875);
    const found = thereAndBack('int4', values, 4);
    const error = found.reduce((sum, x, i) => sum + (x - values[i]) ** 2, 0);
    expect(error).toBeLessThan(errorOfLargest(values));
    expect([...found]).toEqual([-7, -5, 7, -8].map((code) => code * -65504)); // the largest is met by −8
  });

  test('normally distributed weights: 8.1 % error, where the largest value for a scale leaves 8.6 %', () => {
    const values = gaussian(1 << 16, 1);
    const found = thereAndBack('int4', values, 1 << 10);
    const power = (v: Float32Array) => v.reduce((sum, x) => sum + x * x, 0);
    const error = Math.sqrt(power(found.map((x, i) => x - values[i])) / power(values));
    expect(error).toBeGreaterThan(0.08);
    expect(error).toBeLessThan(0.082);
    let ofLargest = 0;
    for (let at = 0; at < values.length; at += GROUP)
      ofLargest += errorOfLargest(values.subarray(at, at + GROUP));
    expect(Math.sqrt(ofLargest / power(values))).toBeGreaterThan(0.085);
  });

  test('by hand: value j and value j + 16 share byte j, the last group is filled with zeros', () => {
    const values = Float32Array.from({ length: 34 }, (_, i) => (i < 32 ? (i % 16) - 8 : 16 * (i - 32)));
    const { codes, scales } = encodeRows('int4', values, 34);
    expect(codes.length).toBe(32);
    const nibbles = (i: number) => [codes[i] & 15, codes[i] >> 4];
    expect([0, 1, 15].map(nibbles)).toEqual([
      [0, 0],
      [1, 1],
      [15, 15],
    ]);
    expect([16, 17, 18, 31].map(nibbles)).toEqual([
      [8, 8],
      [0, 8],
      [8, 8],
      [8, 8],
    ]);
    const widened = new Float32Array(2);
    widenInto(scales, 'F16', widened);
    expect([...widened]).toEqual([1, -2]);
    expect([...thereAndBack('int4', values, 34)].map((x) => x || 0)).toEqual([...values]);
  });

  test('an outlier spoils only its own group', () => {
    const values = new Float32Array(96).fill(0.01);
    values[40] = 100;
    const found = thereAndBack('int4', values, 96);
    expect(found[40]).toBeCloseTo(100, 1);
    expect(found.subarray(32, 40).every((x) => x === 0)).toBe(true);
    for (const i of [0, 31, 64, 95]) expect(found[i]).toBeCloseTo(0.01, 5);
  });

  test('the smallest numbers keep a scale; too large ones are refused', () => {
    for (const value of [1e-8, -1e-8, 3e-7, 1e-5]) {
      const [found] = thereAndBack('int4', Float32Array.of(value), 1);
      expect(Math.abs(found - value)).toBeLessThanOrEqual(2 ** -25);
    }
    expect(() => encodeRows('int4', Float32Array.of(1e6), 1)).toThrow(
      '1000000 is beyond what int4 can scale',
    );
  });
});

test.each(['int8', 'int4'] as const)('%s: any range of rows is decoded alone, and encoded alone', (format) =>
  fc.assert(
    fc.property(
      matrices(1e3).chain((m) =>
        fc.tuple(fc.constant(m), fc.integer({ min: 0, max: m.rows }), fc.integer({ min: 0, max: m.rows })),
      ),
      ([{ rows, inSize, values }, x, y]) => {
        const [begin, end] = x < y ? [x, y] : [y, x];
        const whole = encodeRows(format, values, inSize);
        const part = encodeRows(format, values.subarray(begin * inSize, end * inSize), inSize);
        const bytes = quantRowBytes(format, inSize);
        expect(whole.codes.length).toBe(rows * bytes.codes);
        expect(part.codes).toEqual(whole.codes.subarray(begin * bytes.codes, end * bytes.codes));
        expect(part.scales).toEqual(whole.scales.subarray(begin * bytes.scales, end * bytes.scales));
        const found = new Float32Array((end - begin) * inSize);
        decodeRows(format, whole, inSize, found, begin);
        expect(found).toEqual(thereAndBack(format, values, inSize).subarray(begin * inSize, end * inSize));
      },
    ),
  ),
);

test.each(['int8', 'int4'] as const)(
  '%s: what was decoded is encoded to itself, zeros to zeros',
  (format) => {
    const zeros = thereAndBack(format, new Float32Array(100), 50);
    expect([...zeros]).toEqual(new Array(100).fill(0));
    const once = thereAndBack(
      format,
      Float32Array.from({ length: 100 }, (_, i) => Math.sin(i)),
      50,
    );
    const twice = thereAndBack(format, once, 50);
    for (let i = 0; i < once.length; i++) expect(twice[i]).toBeCloseTo(once[i], 3);
  },
);

describe('crc32', () => {
  test("zlib's own values", () => {
    const text = (s: string) => crcText(crc32(new TextEncoder().encode(s)));
    expect(text('')).toBe('00000000');
    expect(text('123456789')).toBe('cbf43926'); // the check value of the CRC catalogue
    expect(text('The quick brown fox jumps over the lazy dog')).toBe('414fa339');
  });

  test('the same in parts, from any address', () =>
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(200), fc.nat(7), (bytes, cut, shift) => {
        const moved = new Uint8Array(new ArrayBuffer(bytes.length + shift), shift);
        moved.set(bytes);
        expect(crc32(moved)).toBe(crc32(bytes.subarray(cut), crc32(bytes.subarray(0, cut))));
      }),
    ));
});
