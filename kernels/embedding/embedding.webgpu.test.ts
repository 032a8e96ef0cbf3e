import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { gpuIdle } from '../../src/device-webgpu.ts';
import { BACKENDS, expectNoLeak, startBackend } from '../../test/support/backends.ts';
import { gaussian } from '../../test/support/close.ts';
import { checkGpu } from '../../test/support/gpu.ts';
import { widenInto } from '../../weights/dtypes.ts';
import { narrowToBf16, narrowToF16 } from '../../weights/narrow.ts';
import { decodeRows, encodeRows } from '../../weights/quantization.ts';
import type { RawMatrix } from '../linear/matrix-store.ts';
import { type RowMatrix, webgpuStore } from '../linear/webgpu-store.ts';
import { embed } from './embedding.ts';
import { rowTable } from './embedding.webgpu.ts';

describe.skipIf(!BACKENDS.includes('webgpu'))('a table on the GPU', () => {
  beforeAll(() => startBackend('webgpu'));
  afterEach(async () => {
    await gpuIdle();
    await checkGpu();
  });

  /** A table as checkpoints have it, and the values that it stands for. */
  function example(words: 'bfloat16' | 'float16' | 'int8' | 'int4', V: number, D: number) {
    const values = gaussian(V * D, 1).map((v) => v * (words === 'bfloat16' || words === 'int8' ? 1e20 : 1e3));
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

  const tables = [
    { V: 1, D: 1, partBytes: 1 << 20 },
    { V: 257, D: 64, partBytes: 1 << 20 },
    { V: 257, D: 64, partBytes: 1000 }, // in parts
    { V: 50, D: 7, partBytes: 100 },
    { V: 41, D: 97, partBytes: 1000 },
    { V: 300, D: 2048, partBytes: 1 << 18 },
  ];
  const packings = ['bfloat16', 'float16', 'int8', 'int4'] as const;

  test.each(packings.flatMap((words) => tables.map((table) => ({ words, ...table }))))(
    'gives the rows of $words [$V, $D] to the bit, packed and widened, in parts of $partBytes bytes',
    async ({ words, V, D, partBytes }) => {
      const { raw, values } = example(words, V, D);
      const ids = Int32Array.from({ length: 100 }, (_, t) => (t * 97) % V);
      ids[1] = V - 1;
      const expected = [...ids].flatMap((id) => [...values.subarray(id * D, (id + 1) * D)]);
      for (const kind of ['packed', 'float32'] as const) {
        await expectNoLeak(async () => {
          const table = rowTable(webgpuStore(partBytes)[kind](raw) as RowMatrix);
          expect(table.storage).toBe(kind === 'packed' ? words : 'float32');
          const rows = await embed(table, ids);
          expect(rows.shape).toEqual([100, D]);
          expect([...(await rows.data())]).toEqual(expected);
          rows.dispose();
          table.dispose();
        });
      }
    },
  );
});
