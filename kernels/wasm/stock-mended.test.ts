import * as tf from '@tensorflow/tfjs-core';
import { expect, test } from 'vitest';
import { onEveryBackend } from '../../test/support/backends.ts';

// 2·3·4·5 numbers that tell where they stand: a wrong place is a wrong value.
const numbers = Array.from({ length: 120 }, (_, i) => i);
const SHAPES: readonly number[][] = [[120], [24, 5], [6, 4, 5], [2, 3, 4, 5]];

onEveryBackend(() => {
  for (const shape of SHAPES) {
    test(`boxes of [${shape}] hold the values that stand there`, async () => {
      for (const dtype of ['float32', 'int32'] as const) {
        const x = tf.tensor(numbers, shape, dtype);
        const strides = shape.map((_, a) => shape.slice(a + 1).reduce((p, n) => p * n, 1));
        for (let axis = 0; axis < shape.length; axis++) {
          const begin = shape.map((_, a) => (a === axis ? 1 : 0));
          const size = shape.map((n, a) => (a === axis ? Math.max(1, n - 2) : n));
          const expected = numbers.filter((i) =>
            shape.every((n, a) => {
              const at = Math.floor(i / strides[a]) % n;
              return at >= begin[a] && at < begin[a] + size[a];
            }),
          );
          const box = tf.slice(x, begin, size);
          expect([...(await box.data())]).toEqual(expected);
          const parts = tf.split(x, [1, shape[axis] - 1], axis);
          const whole = tf.concat(parts, axis);
          expect([...(await whole.data())]).toEqual(numbers);
          expect(parts[0].shape[axis]).toBe(1);
          tf.dispose([box, whole, ...parts]);
        }
        const clone = tf.clone(x);
        x.dispose();
        expect([...(await clone.data())]).toEqual(numbers);
        clone.dispose();
      }
    });
  }
});
