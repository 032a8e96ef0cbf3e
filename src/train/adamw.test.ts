import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';
import { beforeAll, expect, test } from 'vitest';
import { AdamW } from './adamw.ts';

beforeAll(() => tf.setBackend('cpu'));

test('a variable with a rate of its own moves so much farther; its decay grows alike', async () => {
  const start = [1, -2, 0.5, 4];
  const make = () => tf.variable(tf.tensor2d(start, [2, 2]));
  const variables = new Map([
    ['table', make()],
    ['other', make()],
  ]);
  const gradients = new Map(
    [...variables.keys()].map((name) => [name, tf.tensor2d([0.1, -0.3, 0.2, 0], [2, 2])]),
  );
  const before = tf.memory().numTensors;
  const optimizer = new AdamW(variables, { rateOf: (name) => (name === 'table' ? 10 : 1), weightDecay: 0.1 });
  optimizer.update(gradients, 1e-3, 1);
  const moved = async (name: string) =>
    (await (variables.get(name) as tf.Variable).data()).map((v, i) => v - start[i]);
  const [table, other] = [await moved('table'), await moved('other')];
  other.forEach((d, i) => {
    expect(d).not.toBe(0);
    expect(table[i] / d).toBeCloseTo(10, 2);
  });
  optimizer.dispose();
  expect(tf.memory().numTensors).toBe(before);
  tf.dispose([...variables.values(), ...gradients.values()]);
});
