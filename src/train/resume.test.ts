import { expect, test } from 'vitest';
import { onEveryBackend } from '../../test/support/backends.ts';
import { randomModel } from '../../test/support/random-model.ts';
import { tinyConfig, tinyPicture, tinyText } from '../../test/support/tiny-inputs.ts';
import type { Example } from './examples.ts';
import { type TrainOptions, trainAdapter } from './train-adapter.ts';

type LoraRun = TrainOptions & { readonly allWeights?: false };
const pairs: readonly Example[] = Array.from({ length: 7 }, (_, i) => ({
  anchor: tinyText(2 + (i % 3)),
  positive: i % 3 === 0 ? tinyPicture() : tinyText(4),
  where: `pairs.jsonl:${i + 1}`,
}));
const options: LoraRun = {
  rank: 2,
  epochs: 4,
  batchSize: 3,
  rate: 1e-2,
  temperature: 0.1,
  sizes: [16, 32],
  seed: 5,
};

/** Losses of a run, and the states that it kept. */
async function run(more: LoraRun, examples: readonly Example[] = pairs) {
  using model = randomModel(tinyConfig);
  const losses: number[] = [];
  const states: { update: number; state: Uint8Array }[] = [];
  const error = await trainAdapter(model, examples, {
    ...options,
    keep: async (state, update) => {
      states.push({ update, state });
    },
    ...more,
    onStep: (report) => {
      losses.push(report.loss);
      more.onStep?.(report);
    },
  }).then(
    ({ trainable }) => {
      trainable.dispose();
      return null;
    },
    (e: Error) => e,
  );
  return { losses, states, error };
}

onEveryBackend(() => {
  test('a run that was stopped anywhere goes on with the losses of one that was not, to the bit', async () => {
    const whole = await run({ keepEvery: 3 });
    expect(whole.losses).toHaveLength(8);
    expect(whole.states.map((s) => s.update)).toEqual([3, 6]);
    for (const { update, state } of whole.states) {
      const rest = await run({ resume: state });
      expect(rest.losses).toEqual(whole.losses.slice(update));
    }
  });

  test('a DoRA goes on to the bit, too, with lengths of its matrices as they are', async () => {
    const dora = { dora: true, rslora: true, epochs: 2 };
    const whole = await run({ ...dora, keepEvery: 2 });
    const rest = await run({ ...dora, resume: whole.states[0].state });
    expect(rest.losses).toEqual(whole.losses.slice(2));
    expect(rest.losses).toHaveLength(2);
  });

  test('an abort keeps the state between two updates', async () => {
    const whole = await run({});
    const controller = new AbortController();
    const stopped = await run({
      signal: controller.signal,
      onStep: ({ update }) => {
        if (update === 4) controller.abort(new Error('enough'));
      },
    });
    expect(stopped.error?.message).toBe('enough');
    expect(stopped.states.map((s) => s.update)).toEqual([5]);
    const rest = await run({ resume: stopped.states[0].state });
    expect([...stopped.losses, ...rest.losses]).toEqual(whole.losses);
  });
});

test('a loss that is not finite stops the run and keeps the last good state', async () => {
  const picture = tinyPicture();
  const image = {
    ...(picture.image as NonNullable<typeof picture.image>),
    pixelValues: new Float32Array(8 * 1176).fill(Number.NaN),
  };
  const broken = pairs.map((pair, i) => (i === 6 ? { ...pair, anchor: { ...picture, image } } : pair));
  const { error, states, losses } = await run({}, broken);
  const lines = /the loss is NaN.* broken examples in this batch \(pairs\.jsonl:(\d), (\d), (\d)\)$/.exec(
    error?.message ?? '',
  );
  expect(lines?.slice(1)).toContain('7');
  const last = states[states.length - 1];
  expect(last.update).toBe(losses.length);
  // The state holds no NaN: with sound data the run ends.
  const rest = await run({ resume: last.state });
  expect(rest.error).toBeNull();
  expect([...losses, ...rest.losses]).toEqual((await run({})).losses);
});

test('a state of another run is refused with what differs', async () => {
  const [{ state }] = (await run({ keepEvery: 3 })).states;
  const message = async (more: LoraRun) => (await run({ resume: state, ...more })).error?.message;
  expect(await message({ rank: 3 })).toMatch(/do not fit .*lora_A.*rank and targets/s);
  expect(await message({ batchSize: 2 })).toMatch(
    /had 3 batchSize, 8 updates, this one 2 batchSize, 12 updates/,
  );
  expect(await message({ resume: new Uint8Array(9) })).toMatch(/training state/);
});
