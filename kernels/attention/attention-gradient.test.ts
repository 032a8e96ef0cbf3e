import * as tf from '@tensorflow/tfjs-core';
import { expect, test } from 'vitest';
import { expectNoLeak, onEveryBackend } from '../../test/support/backends.ts';
import { expectTensorClose, gaussianTensor } from '../../test/support/close.ts';
import { mostAlive } from '../../test/support/most-alive.ts';
import { attentionGradient } from './attention-gradient.ts';
import { cumulate } from './segments.ts';

const [N, K, H] = [4, 2, 8];

const given = (lengths: readonly number[]) => {
  const T = lengths.reduce((a, b) => a + b, 0);
  return { qkv: gaussianTensor([T, (N + 2 * K) * H], 1), dy: gaussianTensor([T, N * H], 2) };
};

// backward.test.ts holds the gradient of one block to that of the composed truth.
onEveryBackend(() => {
  test.each([true, false])('in blocks of query rows the gradient is the same (causal: %s)', (causal) =>
    expectNoLeak(async () => {
      const lengths = [7, 7, 1, 13];
      const { qkv, dy } = given(lengths);
      const attrs = { heads: N, kvHeads: K, causal, cuSeqlens: cumulate(lengths) };
      const whole = attentionGradient(qkv, dy, attrs);
      for (const scores of [1, 13 * N * 5, 2 * 7 * N * 3]) {
        const found = attentionGradient(qkv, dy, attrs, scores);
        await expectTensorClose(found, whole, { relativeToMax: 2e-6, what: `${scores} scores at once` });
        found.dispose();
      }
      tf.dispose([qkv, dy, whole]);
    }),
  );

  test.each([true, false])('its memory grows linearly with the length (causal: %s)', async (causal) => {
    const bytes = async (T: number, scores?: number) => {
      const { qkv, dy } = given([T]);
      const attrs = { heads: N, kvHeads: K, causal, cuSeqlens: [0, T] };
      const most = await mostAlive(() => attentionGradient(qkv, dy, attrs, scores).dispose());
      tf.dispose([qkv, dy]);
      return most;
    };
    const scores = 1 << 12;
    expect((await bytes(320, scores)) / (await bytes(160, scores))).toBeLessThan(2.05);
    expect((await bytes(320)) / (await bytes(160))).toBeGreaterThan(3); // all scores of a run at once
    expect((await bytes(320)) / (await bytes(320, scores))).toBeGreaterThan(5);
  });
});
