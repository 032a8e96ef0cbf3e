import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CheckpointError, InputError } from '../src/errors.ts';
import type { ByteSource } from './byte-source.ts';
import { byteLengthOf, dtypeNames } from './dtypes.ts';
import { memorySource } from './memory-source.ts';
import { readFloat32, readHeader, readInt32, readRows, readTensor, type TensorEntry } from './safetensors.ts';
import { encodeSafetensors, encodeSafetensorsHeader } from './safetensors-writer.ts';

const ascii = (text: string) => new TextEncoder().encode(text);

/** A file with this header text and `dataBytes` bytes of data. */
function fileOf(header: string | object, dataBytes = 0, claimedLength?: number): ByteSource {
  const json = ascii(typeof header === 'string' ? header : JSON.stringify(header));
  const bytes = new Uint8Array(8 + json.length + dataBytes);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(claimedLength ?? json.length), true);
  bytes.set(json, 8);
  return memorySource('m.safetensors', bytes);
}

const f32 = (begin: number, end: number, ...shape: number[]) => ({
  dtype: 'F32',
  shape,
  data_offsets: [begin, end],
});

async function opened(bytes: Uint8Array): Promise<ReadonlyMap<string, TensorEntry>> {
  return (await readHeader(memorySource('m', bytes))).tensors;
}

describe('a malformed file is refused with what, where and how much', () => {
  const cases: [string, ByteSource, RegExp][] = [
    [
      'empty',
      memorySource('m.safetensors', new Uint8Array(0)),
      /m\.safetensors: 0 bytes are too few .* download it again/,
    ],
    ['7 bytes', memorySource('m.safetensors', new Uint8Array(7)), /7 bytes are too few/],
    [
      'header longer than the file',
      fileOf('{}', 0, 50),
      /claims 50 bytes, .* only 2 after .* 48 bytes are missing; .* download it again/,
    ],
    ['header above the cap', fileOf('{}', 0, 100_000_001), /claims 100000001 bytes, more than the 100000000/],
    [
      'a page',
      memorySource('m.safetensors', ascii('<!DOCTYPE html><html>')),
      /not a safetensors file \(a page/,
    ],
    ['not JSON', fileOf('{"a": '), /m\.safetensors: header: not JSON .* starts with "\{\\"a\\": "/],
    [
      'not UTF-8',
      memorySource('m.safetensors', new Uint8Array([1, 0, 0, 0, 0, 0, 0, 0, 0xff])),
      /header: expected UTF-8/,
    ],
    ['no object', fileOf('[1]'), /header: expected a JSON object, got \[1\]/],
    ['tensor no object', fileOf({ a: 5 }), /tensor "a": expected a JSON object, got 5/],
    ['bad metadata', fileOf({ __metadata__: { a: 1 } }), /__metadata__ "a" must be a string, got 1/],
    [
      'unknown dtype',
      fileOf({ w: { dtype: 'F8_E4M3', shape: [4], data_offsets: [0, 4] } }, 4),
      /tensor "w": dtype "F8_E4M3" is not supported \(supported: F64, F32, F16, BF16, I64, I32, I16, I8, U8, BOOL\)/,
    ],
    [
      'no dtype',
      fileOf({ w: { shape: [], data_offsets: [0, 4] } }, 4),
      /tensor "w": dtype undefined is not supported/,
    ],
    [
      'inherited dtype',
      fileOf({ w: { ...f32(0, 4), dtype: 'toString' } }, 4),
      /dtype "toString" is not supported/,
    ],
    ['negative shape', fileOf({ w: f32(0, 4, -1) }, 4), /tensor "w": shape must be .* got \[-1\]/],
    ['broken shape', fileOf({ w: f32(0, 4, 1.5) }, 4), /tensor "w": shape must be .* got \[1\.5\]/],
    ['shape no list', fileOf({ w: { ...f32(0, 4), shape: 4 } }, 4), /tensor "w": shape must be .* got 4/],
    [
      'offsets turned',
      fileOf({ w: f32(4, 0, 1) }, 4),
      /tensor "w": data_offsets must be \[begin, end\] .* got \[4,0\]/,
    ],
    ['offsets negative', fileOf({ w: f32(-4, 0, 1) }, 4), /data_offsets must be .* got \[-4,0\]/],
    [
      'offsets missing',
      fileOf({ w: { dtype: 'F32', shape: [1] } }, 4),
      /data_offsets must be .* got undefined/,
    ],
    [
      'length against shape and dtype',
      fileOf({ w: f32(0, 8, 3) }, 8),
      /tensor "w": F32 \[3\] takes 12 bytes, but data_offsets \[0, 8\] hold 8/,
    ],
    [
      'a shape beyond all numbers',
      fileOf({ w: f32(0, 4, 2 ** 40, 2 ** 40) }, 4),
      /takes 4\.8.*e\+24 bytes, but/,
    ],
    [
      'overlap',
      fileOf({ a: f32(0, 8, 2), b: f32(4, 12, 2) }, 12),
      /tensor "b" overlaps tensor "a": it begins at byte 4 of the data, expected 8/,
    ],
    [
      'hole at the start',
      fileOf({ a: f32(4, 8, 1) }, 8),
      /tensor "a" leaves a hole after the header: .* byte 4 .* expected 0/,
    ],
    [
      'hole',
      fileOf({ a: f32(0, 4, 1), b: f32(8, 12, 1) }, 12),
      /tensor "b" leaves a hole after tensor "a": .* byte 8 .* expected 4/,
    ],
    [
      'trailing bytes',
      fileOf({ a: f32(0, 4, 1) }, 9),
      /5 bytes follow tensor "a", where the file should end/,
    ],
    [
      'cut off',
      fileOf({ a: f32(0, 4, 1), b: f32(4, 12, 2) }, 5),
      /the file is cut off: 7 bytes are missing \(expected \d+, found \d+\), from tensor "b" on; download it again/,
    ],
  ];
  test.each(cases)('%s', async (_, source, message) => {
    await expect(readHeader(source)).rejects.toThrow(message);
    await expect(readHeader(source)).rejects.toThrow(CheckpointError);
  });

  test('every way to cut a good file off is noticed, with the number of missing bytes', async () => {
    const whole = encodeSafetensors([{ name: 'a', dtype: 'U8', shape: [9], data: new Uint8Array(9) }]);
    for (let length = 0; length < whole.length; length++) {
      const source = memorySource('cut', whole.slice(0, length));
      await expect(readHeader(source), `${length} bytes`).rejects.toThrow(CheckpointError);
    }
    await expect(readHeader(memorySource('cut', whole.slice(0, -3)))).rejects.toThrow(/3 bytes are missing/);
  });

  test('garbage is refused or read, never anything else', async () => {
    await fc.assert(
      fc.asyncProperty(fc.string(), fc.nat(20), async (json, extra) => {
        const error = await readHeader(fileOf(json, extra)).then(
          () => null,
          (e: unknown) => e,
        );
        expect(error === null || error instanceof CheckpointError).toBe(true);
      }),
    );
  });
});

const tensors = fc.uniqueArray(
  fc
    .record({
      name: fc.oneof(fc.string(), fc.constantFrom('0', '__proto__', 'constructor', 'ü"\\\n')),
      dtype: fc.constantFrom(...dtypeNames),
      shape: fc.array(fc.nat(5), { maxLength: 4 }), // scalars and zero-size tensors among them
    })
    .filter(({ name }) => name !== '__metadata__')
    .chain((t) => {
      const n = byteLengthOf(t.dtype, t.shape);
      return fc.uint8Array({ minLength: n, maxLength: n }).map((data) => ({ ...t, data }));
    }),
  { selector: (t) => t.name, maxLength: 8 },
);

test('round trip: names, order, dtypes, shapes, bytes, metadata', async () => {
  await fc.assert(
    fc.asyncProperty(
      tensors,
      fc.dictionary(fc.string(), fc.string()),
      fc.integer({ min: 1, max: 9 }),
      async (given, metadata, chunkBytes) => {
        const bytes = encodeSafetensors(given, metadata);
        const header = await readHeader(memorySource('m', bytes));
        expect(Object.entries(header.metadata).sort()).toEqual(Object.entries(metadata).sort());
        const read = [];
        for (const { name, dtype, shape, begin, ...entry } of header.tensors.values()) {
          read.push({
            name,
            dtype,
            shape,
            data: await readTensor({ name, dtype, shape, begin, ...entry }, { chunkBytes }),
          });
        }
        // Tensors whose names look like array indexes come first in a parsed JSON object: order is compared without names.
        const byName = (x: { name: string }, y: { name: string }) => (x.name < y.name ? -1 : 1);
        expect(read.sort(byName)).toEqual([...given].sort(byName));
      },
    ),
  );
});

test('the streaming header is the beginning of the file, data begins at a multiple of 8', () => {
  fc.assert(
    fc.property(tensors, (given) => {
      const header = encodeSafetensorsHeader(
        given.map(({ data, ...t }) => ({ ...t, byteLength: data.length })),
      );
      expect(header.length % 8).toBe(0);
      expect(encodeSafetensors(given).subarray(0, header.length)).toEqual(header);
    }),
  );
});

test('a header for more than memory holds: 7.5 GB in 64-bit offsets', async () => {
  const shape = [60_000, 62_500];
  const header = encodeSafetensorsHeader([
    { name: 'w', dtype: 'BF16', shape },
    { name: 'b', dtype: 'F32', shape: [1] },
  ]);
  const size = header.length + 7_500_000_000 + 4;
  const source: ByteSource = { ...memorySource('big', header), size };
  const { tensors } = await readHeader(source);
  expect(tensors.get('b')).toMatchObject({ begin: size - 4, byteLength: 4 });
});

test('the writer refuses what no reader would take', () => {
  const one = { name: 'a', dtype: 'F32', shape: [2], data: new Float32Array(2) } as const;
  expect(() => encodeSafetensors([one, one])).toThrow(InputError);
  expect(() => encodeSafetensors([one, one])).toThrow(/"a" is given twice/);
  expect(() => encodeSafetensors([{ ...one, name: '__metadata__' }])).toThrow(/keeps for itself/);
  expect(() => encodeSafetensors([{ ...one, shape: [3] }])).toThrow(/F32 \[3\] takes 12 bytes, got 8/);
  expect(() => encodeSafetensors([{ ...one, shape: [-2] }])).toThrow(/whole numbers/);
  expect(() => encodeSafetensorsHeader([{ ...one, dtype: 'F8' as 'F32' }])).toThrow(/dtype F8 is not one of/);
});

describe('reading', () => {
  const values = Float32Array.from({ length: 35 }, (_, i) => i - 17);
  const file = encodeSafetensors([
    { name: 'pad', dtype: 'U8', shape: [1], data: new Uint8Array([9]) },
    { name: 'w', dtype: 'F32', shape: [5, 7], data: values },
    { name: 'ids', dtype: 'I64', shape: [2], data: new BigInt64Array([3n, -4n]) },
    { name: 's', dtype: 'F32', shape: [], data: new Float32Array([2]) },
  ]);

  test('in chunks of any size the same, one small read a chunk, never a whole file', async () => {
    const inner = memorySource('m', file);
    const lengths: number[] = [];
    const source: ByteSource = {
      ...inner,
      read: (offset, length, signal) => {
        lengths.push(length);
        return inner.read(offset, length, signal);
      },
    };
    const w = (await readHeader(source)).tensors.get('w')!;
    for (const chunkBytes of [1, 4, 7, 8, 100, 1000]) {
      lengths.length = 0;
      expect(await readFloat32(w, { chunkBytes })).toEqual(values);
      expect(Math.max(...lengths)).toBeLessThanOrEqual(Math.max(4, chunkBytes));
      expect(lengths.reduce((a, b) => a + b)).toBe(140);
    }
  });

  test('rows', async () => {
    const entries = await opened(file);
    const w = entries.get('w')!;
    expect(await readRows(w, 1, 3)).toEqual(values.slice(7, 21));
    expect(await readRows(w, 2, 2)).toEqual(new Float32Array(0));
    expect(await readRows(w, 0, 5, { chunkBytes: 12 })).toEqual(values);
    for (const [from, to] of [
      [-1, 2],
      [3, 2],
      [0, 6],
      [0.5, 1],
    ] as const) {
      await expect(readRows(w, from, to)).rejects.toThrow(InputError);
      await expect(readRows(w, from, to)).rejects.toThrow(
        `tensor "w" [5, 7] has no rows from ${from} to ${to}`,
      );
    }
    await expect(readRows(entries.get('s')!, 0, 1)).rejects.toThrow(/tensor "s" \[\] has no rows/);
  });

  test('integers and scalars', async () => {
    const entries = await opened(file);
    expect(await readInt32(entries.get('ids')!)).toEqual(new Int32Array([3, -4]));
    expect(await readFloat32(entries.get('s')!)).toEqual(new Float32Array([2]));
    await expect(readFloat32(entries.get('ids')!)).rejects.toThrow(/I64 cannot become float32/);
  });

  test.each([
    ['NaN', Number.NaN],
    ['Infinity', Number.POSITIVE_INFINITY],
    ['-Infinity', Number.NEGATIVE_INFINITY],
  ])('%s is refused on request, with its place', async (word, value) => {
    const spoilt = values.slice();
    spoilt[17] = value;
    const entries = await opened(
      encodeSafetensors([{ name: 'w', dtype: 'F32', shape: [5, 7], data: spoilt }]),
    );
    const w = entries.get('w')!;
    expect(await readFloat32(w)).toEqual(spoilt);
    const message = `m: tensor "w" holds ${word} at index 17 ([2, 3] of [5, 7])`;
    for (const chunkBytes of [4, 24, 1000]) {
      await expect(readFloat32(w, { checkFinite: true, chunkBytes })).rejects.toThrow(message);
    }
    await expect(readRows(w, 2, 4, { checkFinite: true })).rejects.toThrow(message);
    await expect(readRows(w, 2, 4, { checkFinite: true })).rejects.toThrow(CheckpointError);
    expect(await readRows(w, 3, 4, { checkFinite: true })).toEqual(values.slice(21, 28));
  });

  test('an abort ends it between chunks', async () => {
    const control = new AbortController();
    const inner = memorySource('m', file);
    let reads = 0;
    const source: ByteSource = {
      ...inner,
      read: (offset, length, signal) => {
        if (++reads === 5) control.abort(new Error('enough'));
        return inner.read(offset, length, signal);
      },
    };
    const w = (await readHeader(source)).tensors.get('w')!;
    await expect(readFloat32(w, { chunkBytes: 4, signal: control.signal })).rejects.toThrow('enough');
    expect(reads).toBe(5);
  });
});
