import fc from 'fast-check';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { gpuIdle } from '../../src/device-webgpu.ts';
import { BACKENDS, expectNoLeak, startBackend } from '../../test/support/backends.ts';
import { gaussian } from '../../test/support/close.ts';
import { checkGpu } from '../../test/support/gpu.ts';
import { onRandomCases, spread } from '../../test/support/random-cases.ts';
import { widenInto } from '../../weights/dtypes.ts';
import { narrowToBf16, narrowToF16 } from '../../weights/narrow.ts';
import { decodeRows, encodeRows } from '../../weights/quantization.ts';
import type { RawMatrix } from '../linear/matrix-store.ts';
import { type RowMatrix, webgpuStore } from '../linear/webgpu-store.ts';
import { embed } from './embedding.ts';
import { rowTable } from './embedding.webgpu.ts';

type Case = {
  readonly words: 'bfloat16' | 'float16' | 'int8' | 'int4';
  readonly V: number;
  readonly D: number;
  /** Bytes of the largest part of the table. */
  readonly partBytes: number;
  readonly outliers?: boolean;
  readonly ids: readonly number[];
};

describe.skipIf(!BACKENDS.includes('webgpu'))('a table on the GPU', () => {
  beforeAll(() => startBackend('webgpu'));
  afterEach(async () => {
    await gpuIdle();
    await checkGpu();
  });

  /** A table as checkpoints have it, and the values that it stands for. */
  function example({ words, V, D, outliers }: Omit<Case, 'ids'>) {
    // Half floats, and the scales of int4, reach up to 65504.
    const size = words === 'bfloat16' || words === 'int8' ? 1e20 : outliers ? 10 : 1e3;
    const values = spread(gaussian(V * D, 1), { size, outliers });
    if (words === 'bfloat16' || words === 'float16') {
      const bf16 = words === 'bfloat16';
      const bytes = new Uint8Array((bf16 ? narrowToBf16 : narrowToF16)(values).buffer);
      const dtype = bf16 ? 'BF16' : 'F16';
      widenInto(bytes, dtype, values);
      return { raw: { bytes, dtype, outSize: V, inSize: D } satisfies RawMatrix, values };
    }
    const rows = encodeRows(words, values, D);
    decodeRows(words, rows, D, values);
    return { raw: { format: words, rows, outSize: V, inSize: D } satisfies RawMatrix, values };
  }

  async function check({ ids, ...one }: Case): Promise<void> {
    const { words, V, D, partBytes } = one;
    const { raw, values } = example(one);
    const expected = [...ids].flatMap((id) => [...values.subarray(id * D, (id + 1) * D)]);
    for (const kind of ['packed', 'float32'] as const) {
      await expectNoLeak(async () => {
        const table = rowTable(webgpuStore(partBytes)[kind](raw) as RowMatrix);
        expect([table.rows, table.width]).toEqual([V, D]);
        expect(table.storage).toBe(kind === 'packed' ? words : 'float32');
        const rows = await embed(table, Int32Array.from(ids));
        expect(rows.shape).toEqual([ids.length, D]);
        expect([...(await rows.data())]).toEqual(expected);
        rows.dispose();
        table.dispose();
      });
    }
  }

  const tables = [
    { V: 1, D: 1, partBytes: 1 << 20 },
    { V: 257, D: 64, partBytes: 1 << 20 },
    { V: 257, D: 64, partBytes: 1000 }, // in parts
    { V: 50, D: 7, partBytes: 100 },
    { V: 41, D: 97, partBytes: 1000 },
    { V: 300, D: 2048, partBytes: 1 << 18 },
    { V: 61, D: 129, partBytes: 1000, outliers: true },
  ];
  const packings = ['bfloat16', 'float16', 'int8', 'int4'] as const;

  test.each(packings.flatMap((words) => tables.map((table) => ({ words, ...table }))))(
    'gives rows to the bit, packed and widened: %j',
    (table) => {
      const ids = Array.from({ length: 100 }, (_, t) => (t * 97) % table.V);
      ids[1] = table.V - 1;
      return check({ ...table, ids });
    },
  );

  test('any table, any parts, any ids', () =>
    onRandomCases(
      'rows of a table',
      fc
        .record({
          words: fc.constantFrom(...packings),
          V: fc.integer({ min: 1, max: 300 }),
          D: fc.integer({ min: 1, max: 140 }),
          partBytes: fc.constantFrom(100, 1000, 1 << 20),
          outliers: fc.boolean(),
        })
        .chain((table) =>
          fc
            .array(fc.nat({ max: table.V - 1 }), { minLength: 1, maxLength: 70 })
            .map((ids) => ({ ...table, ids })),
        ),
      check,
    ));
});
