import * as tf from '@tensorflow/tfjs-core';
import { test } from 'vitest';
import { expectNoLeak, onEveryBackend } from '../../test/support/backends.ts';
import { expectClose, gaussian } from '../../test/support/close.ts';
import { rope } from './rope.ts';

onEveryBackend(() => {
  test.each([
    { T: 1, N: 1, H: 2 },
    { T: 11, N: 16, H: 128 },
    { T: 7, N: 2, H: 16 },
    { T: 13, N: 3, H: 80 },
  ])('turns each pair (j, j + H/2) by its angle: [$T, $N·$H]', async ({ T, N, H }) => {
    const x = gaussian(T * N * H, 1);
    const angle = gaussian((T * H) / 2, 2);
    const expected = new Float64Array(x.length);
    const cos = new Float32Array(T * H);
    const sin = new Float32Array(T * H);
    for (let t = 0; t < T; t++) {
      for (let j = 0; j < H / 2; j++) {
        const a = angle[(t * H) / 2 + j];
        cos[t * H + j] = cos[t * H + j + H / 2] = Math.cos(a);
        sin[t * H + j] = sin[t * H + j + H / 2] = Math.sin(a);
        for (let n = 0; n < N; n++) {
          const at = (t * N + n) * H + j;
          expected[at] = x[at] * Math.cos(a) - x[at + H / 2] * Math.sin(a);
          expected[at + H / 2] = x[at + H / 2] * Math.cos(a) + x[at] * Math.sin(a);
        }
      }
    }
    const found = await expectNoLeak(async () => {
      const inputs = [
        tf.tensor2d(x, [T, N * H]),
        tf.tensor2d(cos, [T, H]),
        tf.tensor2d(sin, [T, H]),
      ] as const;
      const y = rope(...inputs, N);
      const values = await y.data();
      tf.dispose([...inputs, y]);
      return values;
    });
    expectClose(found, expected, { relativeToMax: 1e-6, what: `rope [${T}, ${N}·${H}]` });
  });
});
