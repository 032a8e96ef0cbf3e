import * as tf from '@tensorflow/tfjs-core';
import { product } from '../product/product.ts';
import type { Gradient } from './gradient.ts';

export const productGradients: readonly Gradient[] = [
  {
    kernelName: tf.BatchMatMul,
    inputsToSave: ['a', 'b'],
    gradFunc: (dy, [a, b], attrs) => {
      const [turnedA, turnedB] = [Boolean(attrs.transposeA), Boolean(attrs.transposeB)];
      return {
        a: () =>
          turnedA
            ? product(b, dy, { turnA: turnedB, turnB: true }) // (dy · op(b)ᵀ)ᵀ
            : product(dy, b, { turnB: !turnedB }),
        b: () =>
          turnedB
            ? product(dy, a, { turnA: true, turnB: turnedA }) // (op(a)ᵀ · dy)ᵀ
            : product(a, dy, { turnA: !turnedA }),
      };
    },
  },
];
