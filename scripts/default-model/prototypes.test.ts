import * as tf from '@tensorflow/tfjs-core';
import { expect, test } from 'vitest';
import { onEveryBackend } from '../../test/support/backends.ts';
import { gaussianTensor } from '../../test/support/close.ts';
import { MATRYOSHKA, WIDTH } from './geometry.ts';
import { directionLoss, prototypeLoss, prototypes } from './prototypes.ts';

const side = (pooled: tf.Tensor2D) =>
  ({ pooled }) as Parameters<ReturnType<typeof directionLoss>['compute']>[0][number];
const scalarOf = async (loss: tf.Scalar): Promise<number> => {
  const [value] = await loss.data();
  loss.dispose();
  return value;
};

onEveryBackend(() => {
  test('directions: 0 at the target, 2 opposite to it, whatever the length', async () => {
    const targets = gaussianTensor([3, WIDTH], 1);
    const [same, turned] = [tf.mul(targets, 7) as tf.Tensor2D, tf.neg(targets) as tf.Tensor2D];
    const { compute } = directionLoss(targets);
    expect(await scalarOf(compute([side(same), side(same)]))).toBeCloseTo(0, 5);
    expect(await scalarOf(compute([side(turned)]))).toBeCloseTo(2, 5);
    tf.dispose([targets, same, turned]);
  });

  test('prototypes: −log softmax of cosines at every size, and an input without one adds nothing', async () => {
    const [count, temperature] = [5, 0.5];
    const vectors = prototypes(count, WIDTH, 1);
    const x = gaussianTensor([2, WIDTH], 2);
    const [values, rows] = [await vectors.data(), await x.data()].map((v) => Float32Array.from(v));
    const cosine = (size: number, row: number, j: number) => {
      const [a, b] = [rows.slice(row * WIDTH, row * WIDTH + size), values.slice(j * WIDTH, j * WIDTH + size)];
      return a.reduce((sum, v, k) => sum + v * b[k], 0) / (Math.hypot(...a) * Math.hypot(...b));
    };
    const term = (size: number, row: number, own: number) => {
      const all = [...Array(count).keys()].map((j) => Math.exp(cosine(size, row, j) / temperature));
      return -Math.log(all[own] / all.reduce((a, b) => a + b));
    };
    const mean = (row: number, own: number) =>
      MATRYOSHKA.reduce((sum, size) => sum + term(size, row, own), 0) / MATRYOSHKA.length;
    const loss = (...own: number[]) =>
      scalarOf(prototypeLoss(vectors, { own: Int32Array.from(own) }, temperature).compute([side(x)]));
    expect(await loss(3, 1)).toBeCloseTo((mean(0, 3) + mean(1, 1)) / 2, 4);
    expect(await loss(3, -1)).toBeCloseTo(mean(0, 3) / 2, 4);
    tf.dispose([vectors, x]);
  });
});
