import * as tf from '@tensorflow/tfjs-core';
import { expect, test } from 'vitest';
import { onEveryBackend } from '../../test/support/backends.ts';
import { gaussian } from '../../test/support/close.ts';
import { embed, hostTable, tensorTable } from './embedding.ts';

onEveryBackend(() => {
  test('a tensor and a table in host memory give the same rows', async () => {
    const values = gaussian(10 * 3, 1);
    const table = tensorTable(tf.tensor2d(values, [10, 3]));
    const host = hostTable(10, 3, values.byteLength, (id, target) =>
      target.set(values.subarray(id * 3, id * 3 + 3)),
    );
    const ids = Int32Array.of(9, 0, 4, 4);
    const [a, b] = [await embed(table, ids), await embed(host, ids)];
    const expected = [...ids].flatMap((id) => [...values.subarray(id * 3, id * 3 + 3)]);
    expect([...(await a.data())]).toEqual(expected);
    expect([...(await b.data())]).toEqual(expected);
    tf.dispose([a, b]);
    table.dispose();
  });

  test('an id outside the table is refused by place and value', async () => {
    const host = hostTable(10, 3, 0, () => {});
    await expect(embed(host, Int32Array.of(1, 10))).rejects.toThrow(
      'token 1 has id 10, but the embedding table has 10 rows',
    );
    await expect(embed(host, Int32Array.of(-1))).rejects.toThrow('token 0 has id -1');
  });
});
