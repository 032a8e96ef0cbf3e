import * as tf from '@tensorflow/tfjs-core';
import { expect, test } from 'vitest';
import { BACKENDS, expectNoLeak, onEveryBackend } from '../../test/support/backends.ts';
import { expectClose, gaussian, gaussianTensor } from '../../test/support/close.ts';
import { narrowToBf16 } from '../../weights/narrow.ts';
import { useKernels } from '../product-settings.ts';
import { composed } from '../registry.ts';
import { type LinearInputs, linear } from './linear.ts';
import { float32Matrix, type Matrix } from './matrix.ts';
import { matrixStore } from './matrix-store.ts';

const [T, In, Out, R] = [5, 64, 33, 4];
// Rounding of x, W and the sum to 11 bits; TensorFlow's own float16 sums on a CPU, where this runs, add to it.
const ALLOWED = 4e-3;

const matrix = (inSize: number, outSize: number, seed: number): Matrix =>
  float32Matrix(gaussianTensor([inSize, outSize], seed));

const bfloat = (): Matrix =>
  matrixStore().packed({
    bytes: new Uint8Array(narrowToBf16(gaussian(In * Out, 2)).buffer),
    dtype: 'BF16',
    inSize: In,
    outSize: Out,
  });

onEveryBackend(() => {
  test.each([
    ['float32', () => matrix(In, Out, 2), 1],
    ['bfloat16', bfloat, 1],
    ['bfloat16, values far beyond float16', bfloat, 1e6],
    ['bfloat16, values far below it', bfloat, 1e-9],
  ])('half precision beside the composed truth: %s', async (_, weightOf, magnitude) => {
    const weight = weightOf();
    const [a, b] = [matrix(In, R, 5), matrix(R, Out, 6)];
    const x: tf.Tensor2D = tf.tidy(() => tf.mul(gaussianTensor([T, In], 1), magnitude));
    const inputs: LinearInputs = {
      x,
      weight,
      bias: tf.tidy(() => tf.mul(tf.tensor1d(gaussian(Out, 3)), magnitude)),
      lora: [{ a, b, scale: 0.5, activation: 'none' }],
      residual: tf.tidy(() => tf.mul(gaussianTensor([T, Out], 4), magnitude)),
    };
    const valuesOf = (half: boolean) =>
      expectNoLeak(async () => {
        const before = useKernels({ half });
        const y = linear(inputs);
        useKernels(before);
        const values = await y.data();
        y.dispose();
        return values;
      });
    const truth = composed(() => linear(inputs));
    const expected = await truth.data();
    expect(await valuesOf(false)).toEqual(expected);
    const found = await valuesOf(true);
    const error = expectClose(found, expected, { relativeToMax: ALLOWED, what: 'half' });
    expect(error).toBeGreaterThan(0); // it did compute otherwise
    for (const m of [weight, a, b]) m.dispose();
    tf.dispose([x, inputs.bias, inputs.residual, truth] as tf.Tensor[]);
  });

  test('rows of zeros stay zeros', async () => {
    const weight = bfloat();
    const x = tf.zeros<tf.Rank.R2>([2, In]);
    const before = useKernels({ half: true });
    const y = linear({ x, weight, bias: null, lora: [] });
    useKernels(before);
    expect([...new Set(await y.data())]).toEqual([0]);
    weight.dispose();
    tf.dispose([x, y]);
  });
}, ['tensorflow']);

test.skipIf(BACKENDS.includes('tensorflow'))(
  'NOT RUN: half precision through TensorFlow, which is not here; "npm run native" installs it',
  () => {},
);
