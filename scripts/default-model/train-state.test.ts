import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { AdamW } from '../../src/train/adamw.ts';
import { variableOf } from '../../src/train/variables.ts';
import { startBackend } from '../../test/support/backends.ts';
import { gaussianTensor } from '../../test/support/close.ts';
import { restoreState, saveState } from './train-state.ts';

let folder: string;
beforeAll(async () => {
  await startBackend('cpu');
  folder = await mkdtemp(join(tmpdir(), 'train-state-'));
});
afterAll(() => rm(folder, { recursive: true }));

const run = () => {
  const variables = new Map([['w', variableOf(gaussianTensor([3, 2], 1))]]);
  return { variables, optimizer: new AdamW(variables) };
};
const step = ({ variables, optimizer }: ReturnType<typeof run>, seed: number) => {
  const gradient = gaussianTensor([3, 2], seed);
  optimizer.update(new Map([['w', gradient]]), 0.1, 1);
  gradient.dispose();
  return [...variables.get('w')!.dataSync()];
};

test('a run that goes on from its state takes the steps of one that was never stopped', async () => {
  const path = join(folder, 'state.safetensors');
  const whole = run();
  step(whole, 2);
  await saveState(path, whole.variables, whole.optimizer, { seed: '1' });
  const expected = step(whole, 3);
  const again = run();
  expect(await restoreState(path, again.variables, again.optimizer)).toMatchObject({ seed: '1' });
  expect(again.optimizer.updates).toBe(1);
  expect(step(again, 3)).toEqual(expected);
  expect(await readdir(folder)).toEqual(['state.safetensors']);
});

test('no state is no state; one of another model is refused', async () => {
  const { variables, optimizer } = run();
  expect(await restoreState(join(folder, 'none'), variables, optimizer)).toBeNull();
  const path = join(folder, 'state.safetensors');
  const other = new Map([['b', variableOf(tf.zeros([1]))]]);
  await expect(restoreState(path, other, new AdamW(other))).rejects.toThrow(
    'no tensor value:b; the state is of another model, remove it',
  );
});
