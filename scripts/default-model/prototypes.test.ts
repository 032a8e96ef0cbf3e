import * as tf from '@tensorflow/tfjs-core';
import { expect, test } from 'vitest';
import { onEveryBackend } from '../../test/support/backends.ts';
import { gaussianTensor } from '../../test/support/close.ts';
import { MATRYOSHKA, WIDTH } from './geometry.ts';
import { chanceLoss, prototypeLoss, prototypes } from './prototypes.ts';

const side = (pooled: tf.Tensor2D) =>
  ({ pooled }) as Parameters<ReturnType<typeof chanceLoss>['compute']>[0][number];
const scalarOf = async (loss: tf.Scalar): Promise<number> => {
  const [value] = await loss.data();
  loss.dispose();
  return value;
};

onEveryBackend(() => {
  test('prototypes: −log softmax of cosines at every size, the same with chances instead of one', async () => {
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
    const weighted = prototypeLoss(vectors, { own: Int32Array.of(3, 1) }, temperature, [3, 0, 0, 0, 1]);
    expect(await scalarOf(weighted.compute([side(x)]))).toBeCloseTo(
      (3 * (term(10, 0, 3) + term(10, 1, 1)) + term(160, 0, 3) + term(160, 1, 1)) / 8,
      4,
    );
    const loss = (...own: number[]) =>
      scalarOf(prototypeLoss(vectors, { own: Int32Array.from(own) }, temperature).compute([side(x)]));
    expect(await loss(3, 1)).toBeCloseTo((mean(0, 3) + mean(1, 1)) / 2, 4);
    const chances = Float32Array.of(0, 0.25, 0, 0.75, 0, 1, 0, 0, 0, 0);
    const taught = await scalarOf(chanceLoss(vectors, chances, temperature).compute([side(x)]));
    expect(taught).toBeCloseTo((0.25 * mean(0, 1) + 0.75 * mean(0, 3) + mean(1, 0)) / 2, 4);
    tf.dispose([vectors, x]);
  });
});
