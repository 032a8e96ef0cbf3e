import * as tf from '@tensorflow/tfjs-core';
import { test } from 'vitest';
import { expectNoLeak, onEveryBackend } from '../../test/support/backends.ts';
import { expectTensorClose, gaussianTensor } from '../../test/support/close.ts';
import {
  attention,
  composed,
  float32Matrix,
  gelu,
  type LoraActivation,
  linear,
  registerGradients,
  rmsNorm,
  rope,
  swiglu,
} from '../index.ts';

type Two = tf.Tensor2D;
const turned = (x: Two): Two => {
  const angles = gaussianTensor([7, 4], 90);
  const rotary = (half: Two): Two => tf.concat([half, half], 1);
  return rope(x, rotary(tf.cos(angles)), rotary(tf.sin(angles)), 3);
};

const withLora =
  (activation: LoraActivation) => (x: Two, w: Two, bias: Two, a: Two, b: Two, a2: Two, b2: Two) =>
    linear({
      x,
      weight: float32Matrix(w),
      bias: tf.reshape(bias, [5]),
      lora: [
        { a: float32Matrix(a), b: float32Matrix(b), scale: 0.7, activation },
        { a: float32Matrix(a2), b: float32Matrix(b2), scale: 1, activation: 'none' },
      ],
    });
const linearShapes: [number, number][] = [
  [7, 6],
  [6, 5],
  [1, 5],
  [6, 2],
  [2, 5],
  [6, 3],
  [3, 5],
];

const attend = (causal: boolean) => (q: Two, k: Two, v: Two) =>
  attention({ q, k, v }, { heads: 4, kvHeads: 2, causal, cuSeqlens: [0, 3, 6, 7, 12] });
const attentionShapes: [number, number][] = [
  [12, 32],
  [12, 16],
  [12, 16],
];

const CASES: readonly { name: string; shapes: [number, number][]; f: (...xs: Two[]) => Two }[] = [
  { name: 'linear, LoRA', shapes: linearShapes, f: withLora('none') as (...xs: Two[]) => Two },
  { name: 'linear, LoRA with ReLU', shapes: linearShapes, f: withLora('relu') as (...xs: Two[]) => Two },
  { name: 'attention', shapes: attentionShapes, f: attend(false) as (...xs: Two[]) => Two },
  { name: 'causal attention', shapes: attentionShapes, f: attend(true) as (...xs: Two[]) => Two },
  { name: 'rope', shapes: [[7, 24]], f: turned },
  {
    name: 'rmsNorm',
    shapes: [
      [7, 6],
      [1, 6],
    ],
    f: (x, w) => rmsNorm(x, tf.reshape(w, [6]), 1e-2),
  },
  {
    name: 'swiglu',
    shapes: [
      [7, 6],
      [7, 6],
    ],
    f: swiglu,
  },
  {
    name: 'linear, DoRA',
    shapes: [...linearShapes.slice(0, 5), [1, 5]],
    f: (x, w, bias, a, b, m) => {
      const [magnitude, norm] = [tf.reshape(m, [5]), tf.tensor1d([1, 2, 3, 4, 5])] as [
        tf.Tensor1D,
        tf.Tensor1D,
      ];
      const term = { a: float32Matrix(a), b: float32Matrix(b), scale: 0.7, activation: 'none' as const };
      const dora = { magnitude, norm, weight: 1 };
      return linear({ x, weight: float32Matrix(w), bias: tf.reshape(bias, [5]), lora: [{ ...term, dora }] });
    },
  },
  { name: 'gelu', shapes: [[7, 6]], f: gelu },
];

// The composed ops go back through stock gradients, op by op: the truth that a gradient by hand must equal.
onEveryBackend(() => {
  for (const { name, shapes, f } of CASES) {
    test(`${name}: the gradient by hand is that of the composed truth`, async () => {
      registerGradients();
      const inputs = shapes.map((shape, i) => gaussianTensor(shape, i + 1));
      const weights = tf.tidy(() => gaussianTensor(f(...inputs).shape, 50));
      const gradients = (): tf.Tensor[] =>
        tf.tidy(() => tf.grads((...xs) => tf.sum(tf.mul(f(...(xs as Two[])), weights)))(inputs));
      await expectNoLeak(async () => {
        const byHand = gradients();
        const truth = composed(gradients);
        for (let i = 0; i < inputs.length; i++) {
          await expectTensorClose(byHand[i], truth[i], { relativeToMax: 5e-6, what: `${name}, input ${i}` });
        }
        tf.dispose([byHand, truth]);
      });
      tf.dispose([inputs, weights]);
    });
  }
});
