import * as tf from '@tensorflow/tfjs-core';
import type { Gradient } from './gradient.ts';

/**
 * a · b with either side turned. The WebAssembly backend multiplies turned operands up to ten times slower than it turns
 * them (bench/README.md), so there they are turned first.
 */
function product(a: tf.Tensor, b: tf.Tensor, turnA: boolean, turnB: boolean): tf.Tensor {
  if (tf.getBackend() !== 'wasm') return tf.matMul(a, b, turnA, turnB);
  return tf.matMul(turnA ? turned(a) : a, turnB ? turned(b) : b);
}

/** […, m, n] → […, n, m] */
function turned(x: tf.Tensor): tf.Tensor {
  const axes = x.shape.map((_, axis) => axis);
  return tf.transpose(x, [...axes.slice(0, -2), x.rank - 1, x.rank - 2]);
}

export const productGradients: readonly Gradient[] = [
  {
    kernelName: tf.BatchMatMul,
    inputsToSave: ['a', 'b'],
    gradFunc: (dy, [a, b], { transposeA, transposeB }) => ({
      a: () =>
        transposeA
          ? product(b, dy, Boolean(transposeB), true) // (dy · op(b)ᵀ)ᵀ
          : product(dy, b, false, !transposeB),
      b: () =>
        transposeB
          ? product(dy, a, true, Boolean(transposeA)) // (op(a)ᵀ · dy)ᵀ
          : product(a, dy, !transposeA, false),
    }),
  },
];
