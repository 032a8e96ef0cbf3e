import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { expectNoLeak, onEveryBackend } from '../../test/support/backends.ts';
import { gaussian } from '../../test/support/close.ts';
import { onRandomCases, type Spread, spread } from '../../test/support/random-cases.ts';
import { embed, hostTable, tensorTable } from './embedding.ts';

/** A table [V, D], and which of its rows are asked for. */
type Case = Spread & { readonly V: number; readonly D: number; readonly ids: readonly number[] };

async function check({ V, D, ids, ...spreads }: Case): Promise<void> {
  const values = spread(gaussian(V * D, 1), spreads);
  const wanted = Int32Array.from(ids);
  const expected = ids.flatMap((id) => [...values.subarray(id * D, (id + 1) * D)]);
  await expectNoLeak(async () => {
    const table = tensorTable(tf.tensor2d(values, [V, D]));
    const host = hostTable(V, D, values.byteLength, (id, target) =>
      target.set(values.subarray(id * D, (id + 1) * D)),
    );
    for (const { rows, kind } of [
      { rows: await embed(table, wanted), kind: 'tensor' },
      { rows: await embed(host, wanted), kind: 'host' },
    ]) {
      expect(rows.shape, kind).toEqual([ids.length, D]);
      expect([...(await rows.data())], kind).toEqual(expected);
      rows.dispose();
    }
    table.dispose();
    host.dispose();
  });
}

onEveryBackend(() => {
  test.each<Case>([
    { V: 1, D: 1, ids: [0] },
    { V: 10, D: 3, ids: [9, 0, 4, 4] },
    { V: 101, D: 1, ids: [100, 0, 50] },
    { V: 31, D: 2048, ids: [30, 0, 7, 30, 1], outliers: true },
    { V: 13, D: 97, ids: [12, 12, 0], size: 1e30, outliers: true },
  ])('a tensor and a table in host memory give the same rows, to the bit: %j', check);

  test('any table, any ids', () =>
    onRandomCases(
      'embed',
      fc.record({ V: fc.integer({ min: 1, max: 300 }), D: fc.integer({ min: 1, max: 140 }) }).chain((table) =>
        fc.record({
          V: fc.constant(table.V),
          D: fc.constant(table.D),
          ids: fc.array(fc.nat({ max: table.V - 1 }), { minLength: 1, maxLength: 70 }),
          size: fc.constantFrom(1e-30, 1, 1e30),
          outliers: fc.boolean(),
        }),
      ),
      check,
    ));

  test('an id outside the table is refused by place and value', async () => {
    const host = hostTable(10, 3, 0, () => {});
    await expect(embed(host, Int32Array.of(1, 10))).rejects.toThrow(
      'token 1 has id 10, but the embedding table has 10 rows',
    );
    await expect(embed(host, Int32Array.of(-1))).rejects.toThrow('token 0 has id -1');
  });
});
