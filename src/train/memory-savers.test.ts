import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { registerGradients } from '../../kernels/index.ts';
import { expectNoLeak, onEveryBackend } from '../../test/support/backends.ts';
import { expectClose } from '../../test/support/close.ts';
import { randomModel } from '../../test/support/random-model.ts';
import { tinyConfig as config, tinyPicture, tinyText } from '../../test/support/tiny-inputs.ts';
import { keepAll } from './block-runner.ts';
import { cachedGradients } from './cached-gradients.ts';
import { batchGradients, type LossAndGradients, type TrainBatch } from './gradients.ts';
import { loraVariables } from './lora-variables.ts';
import { coSent } from './losses/co-sent.ts';
import { infoNce } from './losses/info-nce.ts';
import { recomputeBlocks } from './recompute-blocks.ts';
import type { Trainable } from './variables.ts';
import { weightVariables } from './weight-variables.ts';

const sides = [
  [tinyText(5), tinyText(3), tinyText(5), tinyPicture()],
  [tinyPicture(), tinyPicture(), tinyText(4), tinyText(2)],
];
const BATCHES: Readonly<Record<string, TrainBatch>> = {
  InfoNCE: {
    sides: [...sides, [tinyText(3), tinyPicture()]],
    loss: infoNce({ temperature: 0.3, sizes: [16, 32], multi: 0.5 }),
  },
  CoSENT: { sides, loss: coSent([0.1, 0.5, 0.9, 0.4], { temperature: 0.3 }) },
};

async function expectSame(found: LossAndGradients, expected: LossAndGradients): Promise<void> {
  expectClose(await found.loss.data(), await expected.loss.data(), { relativeToMax: 1e-5, what: 'loss' });
  expect([...found.gradients.keys()].sort()).toEqual([...expected.gradients.keys()].sort());
  for (const [name, gradient] of expected.gradients) {
    const other = found.gradients.get(name) as tf.Tensor;
    expectClose(await other.data(), await gradient.data(), { relativeToMax: 2e-5, what: name });
  }
  for (const { loss, gradients } of [found, expected]) tf.dispose([loss, ...gradients.values()]);
}

onEveryBackend(() => {
  let model: ReturnType<typeof randomModel>;
  beforeAll(() => {
    model = randomModel(config);
  });
  afterAll(() => model.dispose());
  const trainables: Readonly<Record<string, () => Trainable | Promise<Trainable>>> = {
    'all weights': () => weightVariables(model),
    'a LoRA on decoder and tower': () => {
      const lora = loraVariables(model, {
        rank: 2,
        seed: 3,
        targets: (m) => /q_proj|down_proj|attn\.qkv|projector/.test(m),
      });
      for (const v of lora.variables.values()) tf.tidy(() => v.assign(tf.add(v, 0.05))); // B starts at zero
      return lora;
    },
    'a LoRA on the decoder': () => loraVariables(model, { rank: 2 }),
    'a DoRA': () => {
      const lora = loraVariables(model, { rank: 2, dora: true, rslora: true });
      for (const v of lora.variables.values()) tf.tidy(() => v.assign(tf.add(v, 0.05)));
      lora.changed?.();
      return lora;
    },
  };

  for (const [what, trainableOf] of Object.entries(trainables)) {
    test(`blocks that run again give the gradients of blocks that are kept: ${what}`, async () => {
      registerGradients();
      const trainable = await trainableOf();
      await expectNoLeak(async () => {
        const kept = await batchGradients(BATCHES.InfoNCE, { config, trainable, runBlock: keepAll });
        const again = await batchGradients(BATCHES.InfoNCE, { config, trainable, runBlock: recomputeBlocks });
        await expectSame(again, kept);
      });
      trainable.dispose();
    });

    test(`a batch in parts has the gradients of the whole batch: ${what}`, async () => {
      registerGradients();
      const trainable = await trainableOf();
      for (const [name, batch] of Object.entries(BATCHES)) {
        for (const chunk of name === 'InfoNCE' ? [1, 4] : [3]) {
          await expectNoLeak(async () => {
            const whole = await batchGradients(batch, { config, trainable, runBlock: keepAll });
            const options = { config, trainable, runBlock: chunk === 4 ? recomputeBlocks : keepAll };
            await expectSame(await cachedGradients(batch, options, chunk), whole);
          });
        }
      }
      trainable.dispose();
    });
  }

  test('blocks that run again keep fewer bytes for the way back', async () => {
    registerGradients();
    const trainable = await weightVariables(model);
    const texts = sides.map((side) => side.map(() => tinyText(20)));
    const peak = async (runBlock: typeof keepAll) => {
      const before = tf.memory().numBytes;
      let bytes = 0;
      // The tape is fullest when the loss is computed.
      const loss = { ...BATCHES.CoSENT.loss };
      const watched = {
        ...loss,
        compute: (given: Parameters<typeof loss.compute>[0]) => {
          bytes = tf.memory().numBytes - before;
          return loss.compute(given);
        },
      };
      const { loss: value, gradients } = await batchGradients(
        { sides: texts, loss: watched },
        { config, trainable, runBlock },
      );
      tf.dispose([value, ...gradients.values()]);
      return bytes;
    };
    expect(await peak(recomputeBlocks)).toBeLessThan(0.5 * (await peak(keepAll)));
    trainable.dispose();
  });
});
