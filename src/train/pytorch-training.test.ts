import { readFileSync } from 'node:fs';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { registerGradients } from '../../kernels/index.ts';
import { onEveryBackend } from '../../test/support/backends.ts';
import { expectClose } from '../../test/support/close.ts';
import { GOLDEN, golden } from '../../test/support/golden.ts';
import { memorySource } from '../../weights/memory-source.ts';
import { readHeader, readTensor } from '../../weights/safetensors.ts';
import { JinaEmbeddings } from '../platform/node.ts';
import type { Grid } from '../vision/windows.ts';
import { keepAll } from './block-runner.ts';
import { batchGradients, type TrainBatch } from './gradients.ts';
import { type LoraOptions, loraVariables } from './lora-variables.ts';
import { coSent } from './losses/co-sent.ts';
import { distillScores } from './losses/distillation.ts';
import { infoNce } from './losses/info-nce.ts';
import { triplet } from './losses/triplet.ts';
import type { TrainInput } from './train-input.ts';
import { createTrainer } from './trainer.ts';
import type { Trainable } from './variables.ts';
import { weightVariables } from './weight-variables.ts';

// Reference values and how they were made: pytorch-training.py.
const file = readFileSync(new URL('./pytorch-training.safetensors', import.meta.url));
const { tensors } = await readHeader(memorySource('pytorch-training.safetensors', file));

async function reference(key: string): Promise<{ shape: readonly number[]; values: Float32Array }> {
  const entry = tensors.get(key);
  if (!entry) throw new Error(`no reference value "${key}"`);
  return { shape: entry.shape, values: new Float32Array(new Uint8Array(await readTensor(entry)).buffer) };
}

const text = (...ids: number[]): TrainInput => ({ ids: Int32Array.from(ids) });
const picture: TrainInput = {
  ids: Int32Array.from((await golden('image.small/input_ids')).values),
  span: { begin: 4, end: 10 },
  image: {
    pixelValues: Float32Array.from((await golden('image.small/pixel_values')).values),
    grid: [...(await golden('image.small/image_grid_thw')).values] as unknown as Grid,
  },
};
const q = [text(7, 30, 211, 5), text(99, 41, 300), text(12, 13, 14, 15, 16)];
const d = [text(8, 31, 200), text(400, 41, 301, 17), picture];
const views = { sizes: [16, 32, 64], multi: 0.5 };
const teacher = [
  [0.9, 0.2, 0.1],
  [0.3, 0.5, 0.4],
  [-0.2, 0.0, 0.8],
];
const CASES: Readonly<Record<string, TrainBatch>> = {
  infoNce: { sides: [q, d], loss: infoNce({ temperature: 0.05, ...views }) },
  hardNegatives: {
    sides: [
      [q[0], q[1]],
      [d[0], d[1]],
      [q[2], d[2]],
    ],
    loss: infoNce({ temperature: 0.05, bothDirections: false, ...views }),
  },
  coSent: { sides: [q, d], loss: coSent([0.2, 0.9, 0.5], views) },
  triplet: { sides: [q, d, [d[1], d[2], d[0]]], loss: triplet(views) },
  distillScores: { sides: [q, d], loss: distillScores(teacher, { temperature: 0.1, ...views }) },
};

onEveryBackend((backend) => {
  let jina: JinaEmbeddings;
  beforeAll(async () => {
    jina = await JinaEmbeddings.load(GOLDEN, { device: backend });
    registerGradients();
  });
  afterAll(() => jina.dispose());

  /** The gradients of the sum of all losses. */
  async function sumOfGradients(trainable: Trainable): Promise<Map<string, Float32Array>> {
    const sums = new Map<string, Float32Array>();
    for (const batch of Object.values(CASES)) {
      const options = { config: jina.model.config, trainable, runBlock: keepAll };
      const { loss, gradients } = await batchGradients(batch, options);
      for (const [name, gradient] of gradients) {
        const values = (await gradient.data()) as Float32Array;
        sums.set(name, sums.get(name)?.map((v, i) => v + values[i]) ?? values.slice());
      }
      tf.dispose([loss, ...gradients.values()]);
    }
    return sums;
  }

  /** A LoRA with the reference's matrices. */
  async function referenceLora(form: LoraOptions = {}) {
    const lora = loraVariables(jina.model, { rank: 2, alpha: 3, ...form });
    for (const [name, variable] of lora.variables) {
      if (name.endsWith('lora_magnitude_vector')) continue; // begins as the lengths that the map has
      const { values } = await reference(keyOf('lora', name));
      const [inSize, outSize] = variable.shape;
      tf.tidy(() => variable.assign(tf.transpose(tf.tensor2d(values, [outSize, inSize]))));
    }
    lora.changed?.();
    return lora;
  }
  const keyOf = (group: string, name: string) =>
    `${group}/${name.replace('.lora_A.weight', '/A').replace('.lora_B.weight', '/B').replace('.lora_magnitude_vector', '/m')}`;

  test('every loss is that of PyTorch', async () => {
    const lora = await referenceLora();
    const trainer = createTrainer({ config: jina.model.config, trainable: lora, rate: 0 });
    for (const [name, batch] of Object.entries(CASES)) {
      const { values } = await reference(`loss/${name}`);
      expectClose([await trainer.loss(batch)], values, { relativeToMax: 2e-5, what: name });
    }
    trainer.dispose();
    lora.dispose();
  });

  test('gradients of every LoRA matrix are those of PEFT under PyTorch', async () => {
    const lora = await referenceLora();
    const gradients = await sumOfGradients(lora);
    for (const [name, variable] of lora.variables) {
      const { values } = await reference(keyOf('grad/lora', name));
      const turned = turn(gradients.get(name) as Float32Array, variable.shape);
      expectClose(turned, values, { relativeToMax: 2e-4, what: name });
    }
    expect(lora.variables.size).toBe(44);
    lora.dispose();
  });

  test('gradients of weights of every kind are those of PyTorch', async () => {
    const all = await weightVariables(jina.model);
    const gradients = await sumOfGradients(all);
    const names = [...tensors.keys()].filter((k) => k.startsWith('grad/weights/'));
    for (const key of names) {
      const name = key.slice('grad/weights/'.length);
      const { shape, values } = await reference(key);
      const found = gradients.get(name) as Float32Array;
      const isMatrix = shape.length === 2 && !name.includes('embed_tokens');
      expectClose(isMatrix ? turn(found, [shape[1], shape[0]]) : found, values, {
        relativeToMax: 2e-4,
        what: name,
      });
    }
    expect(names.length).toBe(13);
    all.dispose();
  });

  test('gradients of a rank-stabilised DoRA are those of PEFT under PyTorch', async () => {
    const lora = await referenceLora({ rslora: true, dora: true });
    const gradients = await sumOfGradients(lora);
    let compared = 0;
    for (const [name, variable] of lora.variables) {
      const key = keyOf('grad/dora', name);
      if (!tensors.has(key)) continue;
      const { values } = await reference(key);
      const found = gradients.get(name) as Float32Array;
      const turned = variable.rank === 2 ? turn(found, variable.shape) : found;
      expectClose(turned, values, { relativeToMax: 2e-4, what: name });
      compared++;
    }
    expect(compared).toBe(3 * (7 + 1));
    expect(lora.variables.size).toBe(66);
    lora.dispose();
  });

  test('three updates of a rank-stabilised DoRA are those of PEFT and torch.optim.AdamW', async () => {
    const lora = await referenceLora({ rslora: true, dora: true });
    const trainer = createTrainer({
      config: jina.model.config,
      trainable: lora,
      rate: 1e-2,
      optimizer: { weightDecay: 0.1 },
    });
    const losses: number[] = [];
    const norms: number[] = [];
    for (let i = 0; i < 4; i++) {
      const report = await trainer.step(Object.values(CASES));
      losses.push(report.loss);
      if (i < 3) norms.push(report.norm);
    }
    expectClose(losses, (await reference('dora/loss')).values, { relativeToMax: 2e-4, what: 'losses' });
    expectClose(norms, (await reference('dora/norm')).values, { relativeToMax: 1e-3, what: 'norms' });
    trainer.dispose();
    lora.dispose();
  });

  test('three clipped AdamW updates give the losses and norms of torch.optim.AdamW', async () => {
    const lora = await referenceLora();
    const trainer = createTrainer({
      config: jina.model.config,
      trainable: lora,
      rate: 1e-2,
      clipNorm: 1,
      optimizer: { weightDecay: 0.1 },
    });
    const losses: number[] = [];
    const norms: number[] = [];
    for (let i = 0; i < 4; i++) {
      const report = await trainer.step(Object.values(CASES));
      losses.push(report.loss);
      if (i < 3) norms.push(report.norm);
    }
    expectClose(losses, (await reference('steps/loss')).values, { relativeToMax: 2e-4, what: 'losses' });
    expectClose(norms, (await reference('steps/norm')).values, { relativeToMax: 1e-3, what: 'norms' });
    trainer.dispose();
    lora.dispose();
  });
});

/** [rows, columns] → [columns, rows] */
function turn(values: Float32Array, [rows, columns]: readonly number[]): Float32Array {
  return values.map((_, i) => values[(i % rows) * columns + Math.floor(i / rows)]);
}
