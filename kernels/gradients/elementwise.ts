import * as tf from '@tensorflow/tfjs-core';
import { type Gradient, unbroadcast } from './gradient.ts';

// Sum and product of two broadcast tensors, and functions of each value alone.

const both = (kernelName: string, gradFunc: Gradient['gradFunc']): Gradient => ({
  kernelName,
  inputsToSave: ['a', 'b'],
  gradFunc,
});

const ofInput = (kernelName: string, slope: (x: tf.Tensor) => tf.Tensor): Gradient => ({
  kernelName,
  inputsToSave: ['x'],
  gradFunc: (dy, [x]) => ({ x: () => tf.mul(dy, slope(x)) }),
});

const ofOutput = (kernelName: string, dx: (dy: tf.Tensor, y: tf.Tensor) => tf.Tensor): Gradient => ({
  kernelName,
  outputsToSave: [true],
  gradFunc: (dy, [y]) => ({ x: () => dx(dy, y) }),
});

// Where ‖x‖ = 0 the slope of the root is taken as 0 · large instead of 0 · ∞, which would be NaN.
const ROOT_FLOOR = 1e-19;

export const elementwiseGradients: readonly Gradient[] = [
  // Two tensors, not one twice: the tape frees what it has added up, as for a in a + f(a).
  both(tf.Add, (dy, [a, b]) => ({ a: () => unbroadcast(dy, a), b: () => unbroadcast(tf.clone(dy), b) })),
  both(tf.Sub, (dy, [a, b]) => ({ a: () => unbroadcast(dy, a), b: () => unbroadcast(tf.neg(dy), b) })),
  both(tf.Multiply, (dy, [a, b]) => ({
    a: () => unbroadcast(tf.mul(dy, b), a),
    b: () => unbroadcast(tf.mul(dy, a), b),
  })),
  both(tf.RealDiv, (dy, [a, b]) => ({
    a: () => unbroadcast(tf.div(dy, b), a),
    b: () => unbroadcast(tf.neg(tf.div(tf.mul(dy, a), tf.square(b))), b),
  })),
  both(tf.Maximum, (dy, [a, b]) => ({
    a: () => unbroadcast(tf.mul(dy, tf.cast(tf.greaterEqual(a, b), 'float32')), a),
    b: () => unbroadcast(tf.mul(dy, tf.cast(tf.less(a, b), 'float32')), b),
  })),
  { kernelName: tf.Neg, gradFunc: (dy) => ({ x: () => tf.neg(dy) }) },
  { kernelName: tf.Identity, gradFunc: (dy) => ({ x: () => dy }) },
  { kernelName: tf.Cast, gradFunc: (dy) => ({ x: () => dy }) },
  ofInput(tf.Square, (x) => tf.mul(x, 2)),
  ofInput(tf.Abs, (x) => tf.sign(x)),
  ofInput(tf.Log, (x) => tf.reciprocal(x)),
  ofInput(tf.Relu, (x) => tf.cast(tf.greater(x, 0), 'float32')),
  ofInput(tf.Erf, (x) => tf.mul(tf.exp(tf.neg(tf.square(x))), 2 / Math.sqrt(Math.PI))),
  ofOutput(tf.Exp, (dy, y) => tf.mul(dy, y)),
  ofOutput(tf.Sqrt, (dy, y) => tf.div(dy, tf.mul(tf.maximum(y, ROOT_FLOOR), 2))),
  ofOutput(tf.Rsqrt, (dy, y) => tf.mul(tf.mul(dy, tf.mul(y, tf.square(y))), -0.5)),
  ofOutput(tf.Sigmoid, (dy, y) => tf.mul(dy, tf.mul(y, tf.sub(1, y)))),
  {
    kernelName: tf.Softmax,
    outputsToSave: [true],
    gradFunc: (dy, [y], { dim }) => ({
      logits: () => {
        const weighed = tf.mul(dy, y);
        return tf.sub(weighed, tf.mul(tf.sum(weighed, dim as number, true), y));
      },
    }),
  },
];
