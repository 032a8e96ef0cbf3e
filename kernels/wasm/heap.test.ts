import * as tf from '@tensorflow/tfjs-core';
import { expect, test } from 'vitest';
import { DeviceError } from '../../src/errors.ts';
import { onEveryBackend } from '../../test/support/backends.ts';
import { gaussian } from '../../test/support/close.ts';
import { narrowToBf16 } from '../../weights/narrow.ts';
import { encodeRows } from '../../weights/quantization.ts';
import { linear } from '../linear/linear.ts';
import { matrixStore, type RawMatrix } from '../linear/matrix-store.ts';
import { addressOf, emptyTensor, wasmBackend } from './heap.ts';

// Memory that nobody writes to takes none of the machine's.
const GB = 2 ** 30;
const room = (bytes: number): tf.Tensor => emptyTensor(wasmBackend(), [bytes / 4]);

onEveryBackend(() => {
  test('a full heap refuses the next tensor, and goes on with what it has', async () => {
    const x = tf.tensor1d([1, 2, 3]);
    const held: tf.Tensor[] = [];
    const fill = () => {
      for (let i = 0; i < 5; i++) held.push(room(GB));
    };
    expect(fill).toThrow(DeviceError);
    expect(fill).toThrow(/heap, which ends at 4 GB, has no room for 1073741824 bytes more/);
    const before = tf.memory().numTensors;
    expect(() => tf.tidy(() => [1, 2, 3].map(() => room(GB / 2)))).toThrow(DeviceError);
    expect(tf.memory().numTensors).toBe(before);
    const sum = tf.add(x, x);
    expect([...(await sum.data())]).toEqual([2, 4, 6]);
    tf.dispose([...held, sum, x]);
    room(GB).dispose(); // there is room again
  });

  test('maps are the same above 2 GB, where an address is no signed number of 32 bits', async () => {
    const [T, outSize, inSize] = [5, 70, 100];
    const values = gaussian(outSize * inSize, 1);
    const raw: readonly RawMatrix[] = [
      { bytes: new Uint8Array(narrowToBf16(values).buffer), dtype: 'BF16', outSize, inSize },
      { format: 'int8', rows: encodeRows('int8', values, inSize), outSize, inSize },
      { format: 'int4', rows: encodeRows('int4', values, inSize), outSize, inSize },
    ];
    const results = () =>
      raw.map((matrix) => {
        const x = tf.tensor2d(gaussian(T * inSize, 2), [T, inSize]);
        const weight = matrixStore().packed(matrix);
        const y = linear({ x, weight, bias: null, lora: [] });
        const found = [addressOf(wasmBackend(), y), y.dataSync<'float32'>()] as const;
        for (const made of [x, weight, y]) made.dispose();
        return found;
      });
    const below = results();
    const held = [room(GB), room(GB)];
    for (const [i, [address, found]] of results().entries()) {
      expect(address).toBeGreaterThan(2 * GB);
      expect(found).toEqual(below[i][1]);
    }
    tf.dispose(held);
  });
}, ['wasm']);
