import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { gpuIdle } from '../../src/device-webgpu.ts';
import { BACKENDS, expectNoLeak, startBackend } from '../../test/support/backends.ts';
import { gaussian } from '../../test/support/close.ts';
import { checkGpu } from '../../test/support/gpu.ts';
import { widenInto } from '../../weights/dtypes.ts';
import { narrowToBf16 } from '../../weights/narrow.ts';
import { type RowMatrix, webgpuStore } from '../linear/webgpu-store.ts';
import { embed } from './embedding.ts';
import { rowTable } from './embedding.webgpu.ts';

describe.skipIf(!BACKENDS.includes('webgpu'))('a table on the GPU', () => {
  beforeAll(() => startBackend('webgpu'));
  afterEach(async () => {
    await gpuIdle();
    await checkGpu();
  });

  test.each([
    { V: 1, D: 1, partBytes: 1 << 20 },
    { V: 257, D: 64, partBytes: 1 << 20 },
    { V: 257, D: 64, partBytes: 1000 }, // in parts
    { V: 50, D: 7, partBytes: 100 },
    { V: 300, D: 2048, partBytes: 1 << 18 },
  ])('gives the rows of [$V, $D] to the bit, packed and float32', async ({ V, D, partBytes }) => {
    const words = narrowToBf16(gaussian(V * D, 1).map((v) => v * 1e20));
    const bytes = new Uint8Array(words.buffer);
    const values = new Float32Array(words.length);
    widenInto(bytes, 'BF16', values);
    const ids = Int32Array.from({ length: 100 }, (_, t) => (t * 97) % V);
    ids[1] = V - 1;
    const expected = [...ids].flatMap((id) => [...values.subarray(id * D, (id + 1) * D)]);
    const raw = { bytes, dtype: 'BF16', outSize: V, inSize: D } as const;
    for (const kind of ['packed', 'float32'] as const) {
      await expectNoLeak(async () => {
        const table = rowTable(webgpuStore(partBytes)[kind](raw) as RowMatrix);
        expect(table.storage).toBe(kind === 'packed' ? 'bfloat16' : 'float32');
        const rows = await embed(table, ids);
        expect(rows.shape).toEqual([100, D]);
        expect([...(await rows.data())]).toEqual(expected);
        rows.dispose();
        table.dispose();
      });
    }
  });
});
