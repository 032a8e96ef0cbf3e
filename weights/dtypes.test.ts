import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CheckpointError } from '../src/errors.ts';
import { bytesPerElement, type Dtype, dtypeNames, toInt32Array, widenInto } from './dtypes.ts';
import { narrowToBf16, narrowToF16 } from './narrow.ts';

const everyPattern = Uint16Array.from({ length: 0x10000 }, (_, i) => i);
const bytesOf = (view: ArrayBufferView) => new Uint8Array(view.buffer, view.byteOffset, view.byteLength);

function widened(dtype: Dtype, bytes: Uint8Array): Float32Array {
  const out = new Float32Array(bytes.byteLength / bytesPerElement(dtype));
  widenInto(bytes, dtype, out);
  return out;
}

/** The same bytes at an odd address. */
function shifted(bytes: Uint8Array): Uint8Array {
  const moved = new Uint8Array(bytes.length + 3).subarray(1, 1 + bytes.length);
  moved.set(bytes);
  return moved;
}

/** The definitions of the formats, by arithmetic. */
function floatOf(pattern: number, exponentBits: number, mantissaBits: number): number {
  const sign = pattern >>> 15 ? -1 : 1;
  const top = 2 ** exponentBits - 1;
  const bias = 2 ** (exponentBits - 1) - 1;
  const exponent = (pattern >>> mantissaBits) & top;
  const fraction = (pattern & (2 ** mantissaBits - 1)) / 2 ** mantissaBits;
  if (exponent === top) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return exponent ? sign * 2 ** (exponent - bias) * (1 + fraction) : sign * 2 ** (1 - bias) * fraction;
}

describe.each([
  ['BF16', 8, 7, narrowToBf16],
  ['F16', 5, 10, narrowToF16],
] as const)('%s', (dtype, exponentBits, mantissaBits, narrow) => {
  const values = widened(dtype, bytesOf(everyPattern));
  const isNan = (pattern: number) => Number.isNaN(floatOf(pattern, exponentBits, mantissaBits));

  test('all 65536 patterns widen to what the format defines', () => {
    const wrong = [...everyPattern].filter(
      (p) => !Object.is(values[p], floatOf(p, exponentBits, mantissaBits)),
    );
    expect(wrong).toEqual([]);
  });

  test('all 65536 patterns come back; a NaN as a NaN', () => {
    const back = narrow(values);
    expect([...everyPattern].filter((p) => (isNan(p) ? !isNan(back[p]) : back[p] !== p))).toEqual([]);
  });

  test('at an odd address', () => {
    const same =
      Buffer.compare(bytesOf(widened(dtype, shifted(bytesOf(everyPattern)))), bytesOf(values)) === 0;
    expect(same).toBe(true);
  });

  // Between two neighbouring patterns p and p + 1: below the middle goes to p, above to p + 1, the middle to the even one.
  test('rounds to nearest, ties to even, on every interval', () => {
    const wrong: number[] = [];
    for (let p = 0; p < 0x10000 - 1; p++) {
      const limit = (2 ** exponentBits - 1) << mantissaBits; // infinity
      if ((p & 0x7fff) >= limit || p === 0x7fff) continue;
      const low = floatOf(p, exponentBits, mantissaBits);
      const ulp = Math.abs(low - floatOf((p & 0x7fff) === 0 ? p + 1 : p - 1, exponentBits, mantissaBits));
      const next =
        (p & 0x7fff) + 1 === limit
          ? Math.sign(low) * (Math.abs(low) + ulp)
          : floatOf(p + 1, exponentBits, mantissaBits);
      const middle = (low + next) / 2;
      const inside = Math.abs(next - low) / 8;
      const away = Math.sign(next - low);
      const cases: [number, number][] = [
        [middle, p % 2 ? p + 1 : p],
        [middle - away * inside, p],
        [middle + away * inside, p + 1],
      ];
      // The bfloat16 intervals below the smallest float32 are out of reach of the input.
      for (const [value, expected] of cases) {
        if (Math.fround(value) === value && narrow(new Float32Array([value]))[0] !== expected) wrong.push(p);
      }
    }
    expect(wrong).toEqual([]);
  });

  test('NaN stays NaN whatever its payload', () => {
    const bits = new Uint32Array([0x7f800001, 0xff800001, 0x7fffffff, 0x7fc00000, 0x7f801fff]);
    expect([...narrow(new Float32Array(bits.buffer))].every(isNan)).toBe(true);
  });

  test('narrowing any float32 is nearest among its neighbours', () => {
    fc.assert(
      fc.property(fc.float({ noNaN: true, noDefaultInfinity: true }), (x) => {
        const [p] = narrow(new Float32Array([x]));
        const error = Math.abs(floatOf(p, exponentBits, mantissaBits) - x);
        if (!Number.isFinite(error)) return; // overflowed to infinity: covered interval by interval above
        for (const q of [p - 1, p + 1]) {
          const other = floatOf(q & 0xffff, exponentBits, mantissaBits);
          if (!Number.isNaN(other)) expect(error).toBeLessThanOrEqual(Math.abs(other - x));
        }
      }),
    );
  });
});

test('NaN bits of bfloat16 and float32 are kept', () => {
  const [nan] = new Uint32Array(widened('BF16', new Uint8Array([0xa5, 0xff])).buffer);
  expect(nan.toString(16)).toBe('ffa50000');
  const bytes = new Uint8Array([1, 2, 0x83, 0x7f]);
  expect(new Uint8Array(widened('F32', shifted(bytes)).buffer)).toEqual(bytes);
});

test.each([
  ['F32', new Float32Array([1.5, -0, 3e38])],
  ['F64', new Float64Array([1.5, 0.1, -1e300])],
  ['I16', new Int16Array([-32768, 32767, 5])],
  ['I8', new Int8Array([-128, 127, 5])],
  ['U8', new Uint8Array([0, 255, 5])],
  ['BOOL', new Uint8Array([0, 1, 1])],
] as const)('%s widens, also at an odd address and into the middle of an array', (dtype, from) => {
  const out = new Float32Array(5).fill(7);
  widenInto(shifted(bytesOf(from)), dtype, out, 1);
  expect([...out]).toEqual([7, ...Array.from(from, Math.fround), 7]);
});

test('large integers are read as integers only', () => {
  const ids = new Int32Array([151643, -1, 2 ** 31 - 1]);
  expect(() => widened('I32', bytesOf(ids))).toThrow(CheckpointError);
  expect(() => widened('I32', bytesOf(ids))).toThrow(/I32 cannot become float32 without loss/);
  expect(toInt32Array(shifted(bytesOf(ids)), 'I32')).toEqual(ids);
  expect(toInt32Array(bytesOf(BigInt64Array.from(ids, BigInt)), 'I64')).toEqual(ids);
  expect(toInt32Array(bytesOf(new Int8Array([-3])), 'I8')).toEqual(new Int32Array([-3]));
  expect(() => toInt32Array(bytesOf(new BigInt64Array([2n ** 31n])), 'I64')).toThrow(
    /2147483648 does not fit/,
  );
  expect(() => toInt32Array(bytesOf(new Float32Array(1)), 'F32')).toThrow(/F32 does not hold integers/);
});

test('every dtype has a size', () => {
  expect(dtypeNames.map(bytesPerElement)).toEqual([8, 4, 2, 2, 8, 4, 2, 1, 1, 1]);
});
