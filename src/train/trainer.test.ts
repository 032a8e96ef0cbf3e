import * as tf from '@tensorflow/tfjs-core';
import { expect, test } from 'vitest';
import { registerGradients } from '../../kernels/index.ts';
import { expectNoLeak, onEveryBackend } from '../../test/support/backends.ts';
import { expectClose } from '../../test/support/close.ts';
import { randomModel } from '../../test/support/random-model.ts';
import {
  tinyConfig as config,
  tinyPicture as picture,
  tinyText as text,
} from '../../test/support/tiny-inputs.ts';
import { keepAll } from './block-runner.ts';
import type { TrainBatch } from './gradients.ts';
import { batchGradients } from './gradients.ts';
import { loraVariables } from './lora-variables.ts';
import { infoNce } from './losses/info-nce.ts';
import { Random } from './random.ts';
import { trainAdapter } from './train-adapter.ts';
import { createTrainer } from './trainer.ts';
import type { Trainable } from './variables.ts';
import { weightVariables } from './weight-variables.ts';

const batch: TrainBatch = {
  sides: [
    [text(5), text(3), text(5)],
    [picture(), picture(), text(4)],
  ],
  loss: infoNce({ temperature: 0.3, sizes: [16, 32], multi: 0.5 }),
};

async function lossAt(trainable: Trainable): Promise<number> {
  const { loss, gradients } = await batchGradients(batch, { config, trainable, runBlock: keepAll });
  const [value] = await loss.data();
  tf.dispose([loss, ...gradients.values()]);
  return value;
}

/** The gradient of each variable against the slope of the loss along it, tilted by as long a random direction. */
async function expectSlopes(trainable: Trainable, names: readonly string[]): Promise<void> {
  registerGradients();
  const { loss, gradients } = await batchGradients(batch, { config, trainable, runBlock: keepAll });
  loss.dispose();
  for (const name of names) {
    const variable = trainable.variables.get(name) as tf.Variable;
    const gradient = gradients.get(name) as tf.Tensor;
    const start = tf.clone(variable);
    const direction = tf.tidy(() => {
      const tilt = tf.tensor(new Random(9).normalValues(variable.size, 1), variable.shape);
      return tf.add(tf.div(gradient, tf.norm(gradient)), tf.div(tilt, tf.norm(tilt)));
    });
    const [along] = await tf.tidy(() => tf.sum(tf.mul(gradient, direction))).data();
    const move = (by: number) => tf.tidy(() => variable.assign(tf.add(start, tf.mul(direction, by))));
    // As far as moves the loss by about 1e-3: small against its bends, large against its rounding.
    const step = Math.min(2e-2, 1e-3 / Math.abs(along));
    move(step);
    const above = await lossAt(trainable);
    move(-step);
    const below = await lossAt(trainable);
    tf.tidy(() => variable.assign(tf.clone(start)));
    const slope = (above - below) / (2 * step);
    expect(Math.abs(slope - along), `${name}: ${along}, by difference ${slope}`).toBeLessThan(
      0.02 * Math.abs(along) + 5e-5,
    );
    expect(Math.abs(along), name).toBeGreaterThan(2e-4);
    tf.dispose([start, direction]);
  }
  tf.dispose([...gradients.values()]);
}

onEveryBackend(() => {
  test('gradients of LoRA matrices are finite differences', async () => {
    using model = randomModel(config);
    const lora = loraVariables(model, {
      rank: 2,
      seed: 3,
      targets: (m) => /q_proj|down_proj|attn\.qkv|projector/.test(m),
    });
    // B starts at zero, where A has no gradient.
    for (const [name, v] of lora.variables) {
      if (name.includes('lora_B')) tf.tidy(() => v.assign(tf.fill(v.shape, 0.05)));
    }
    await expectSlopes(lora, [...lora.variables.keys()]);
    lora.dispose();
  });

  test('gradients of every kind of weight are finite differences', async () => {
    using model = randomModel(config);
    const all = await weightVariables(model);
    await expectSlopes(
      all,
      [...all.variables.keys()].filter((n) => !/blocks\.1|layers\.1/.test(n)),
    );
    all.dispose();
  });

  test('a frozen model learns pairs by its LoRA, and leaves no tensor behind', async () => {
    using model = randomModel(config);
    const pairs = Array.from({ length: 6 }, () => ({ anchor: text(4), positive: text(5) }));
    await expectNoLeak(async () => {
      const losses: number[] = [];
      const { trainable } = await trainAdapter(model, pairs, {
        rank: 4,
        epochs: 15,
        batchSize: 6,
        rate: 2e-2,
        temperature: 0.1,
        onStep: ({ loss }) => {
          losses.push(loss);
        },
      });
      expect(losses).toHaveLength(15);
      expect(losses[14]).toBeLessThan(losses[0] / 4);
      trainable.dispose();
    });
  });

  test('two half batches accumulated are one update', async () => {
    using model = randomModel(config);
    const trainable = loraVariables(model, { rank: 2 });
    const trainer = createTrainer({ config, trainable, rate: 1e-3 });
    const report = await trainer.step([
      { ...batch, weight: 0.5 },
      { ...batch, weight: 0.5 },
    ]);
    const again = loraVariables(model, { rank: 2 });
    const other = createTrainer({ config, trainable: again, rate: 1e-3 });
    const whole = await other.step(batch);
    expect(report.norm).toBeCloseTo(whole.norm, 4);
    for (const [name, v] of trainable.variables) {
      expectClose(await v.data(), await (again.variables.get(name) as tf.Variable).data(), {
        relativeToMax: 1e-4,
        what: name,
      });
    }
    for (const one of [trainable, trainer, again, other]) one.dispose();
  });

  test('data from which its loss cannot learn is told with its lines before the first update', async () => {
    using model = randomModel(config);
    const pairs = [1, 1, 1].map((score, i) => ({
      anchor: text(4),
      positive: text(5),
      score,
      where: `pairs.jsonl:${i + 1}`,
    }));
    await expectNoLeak(async () => {
      const never = () => {
        throw new Error('an update was made');
      };
      await expect(trainAdapter(model, pairs, { onStep: never })).rejects.toThrow(
        'pairs.jsonl:1, 2, 3: all 3 pairs have the score 1',
      );
      await expect(
        trainAdapter(model, pairs, { loss: 'infoNce', batchSize: 1, onStep: never }),
      ).rejects.toThrow('pairs.jsonl:1, 2, 3: InfoNCE tells a pair from others');
    });
  });

  test('of several batches the one whose loss is not finite is named', async () => {
    using model = randomModel(config);
    const trainable = loraVariables(model, { rank: 2 });
    const trainer = createTrainer({ config, trainable, rate: 1e-3 });
    const from = (line: number) => [{ where: `a.jsonl:${line}` }, { where: `a.jsonl:${line + 1}` }];
    const sound = {
      sides: [
        [text(3), text(4)],
        [text(2), text(2)],
      ],
      loss: infoNce(),
    };
    const odd = { ...sound, loss: infoNce({ temperature: Number.NaN }) };
    await expect(
      trainer.step([
        { ...sound, from: from(1) },
        { ...odd, from: from(7) },
      ]),
    ).rejects.toThrow(/this batch \(a\.jsonl:7, 8\)$/);
    trainer.dispose();
    trainable.dispose();
  });

  test('a loss that is not finite changes nothing and says what to do', async () => {
    using model = randomModel(config);
    const trainable = loraVariables(model, { rank: 2 });
    const trainer = createTrainer({ config, trainable, rate: 1e-3 });
    const broken = {
      ...picture(),
      image: {
        pixelValues: new Float32Array(8 * config.vision.patchValues).fill(Number.NaN),
        grid: [1, 2, 4] as const,
      },
    };
    const [name, variable] = [...trainable.variables][0];
    const before = await variable.data();
    await expect(
      trainer.step({
        ...batch,
        sides: [
          [text(3), text(4)],
          [broken, text(2)],
        ],
      }),
    ).rejects.toThrow(/update 0: the loss is NaN.*Lower the learning rate/s);
    expectClose(await variable.data(), before, { relativeToMax: 0, what: name });
    expect(trainer.optimizer.updates).toBe(0);
    trainer.dispose();
    trainable.dispose();
  });
});
