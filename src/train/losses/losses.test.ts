import * as tf from '@tensorflow/tfjs-core';
import { expect, test } from 'vitest';
import { registerGradients } from '../../../kernels/index.ts';
import { expectNoLeak, onEveryBackend } from '../../../test/support/backends.ts';
import { expectClose, gaussian, gaussianTensor } from '../../../test/support/close.ts';
import { coSent } from './co-sent.ts';
import { distillScores, distillVectors } from './distillation.ts';
import { infoNce } from './info-nce.ts';
import type { Loss } from './loss.ts';
import type { Side } from './side.ts';
import { triplet } from './triplet.ts';

// Three sides of 3, 3 and 2 or 3 inputs of width 8; tokens of width 6, of 1 to 3 rows an input, in one stream.
const WIDTH = 8;
const spans = [
  [0, 2],
  [2, 3],
  [3, 6], //
  [6, 8],
  [8, 11],
  [11, 12],
  [12, 14],
  [14, 15],
  [15, 17],
].map(([begin, end]) => ({ begin, end }));

const sidesFrom = (counts: readonly number[], pooled: tf.Tensor2D, vectors: tf.Tensor2D): readonly Side[] => {
  let first = 0;
  return counts.map((n, k) => {
    const side = {
      pooled: tf.slice(pooled, [first, 0], [n, WIDTH]),
      tokens: { vectors, spans: spans.slice(3 * k, 3 * k + n) },
    };
    first += n;
    return side;
  });
};

const views = { sizes: [4, 8], weights: [1, 0.5], multi: 0.7 };
const CASES: readonly { name: string; counts: readonly number[]; loss: Loss }[] = [
  { name: 'InfoNCE', counts: [3, 3], loss: infoNce({ temperature: 0.5, ...views }) },
  { name: 'InfoNCE one way', counts: [3, 3], loss: infoNce({ temperature: 0.5, bothDirections: false }) },
  { name: 'InfoNCE with hard negatives', counts: [3, 3, 2], loss: infoNce({ temperature: 0.5, ...views }) },
  { name: 'InfoNCE with groups', counts: [3, 3], loss: infoNce({ temperature: 0.5, groups: [1, 2, 1] }) },
  { name: 'CoSENT', counts: [3, 3], loss: coSent([0.1, 0.9, 0.5], { temperature: 0.5, ...views }) },
  { name: 'triplet', counts: [3, 3, 3], loss: triplet({ margin: 0.9, ...views }) },
  {
    name: 'distilled scores',
    counts: [3, 2],
    loss: distillScores(
      [
        [0.9, 0.1],
        [0.3, 0.2],
        [-0.5, 0.4],
      ],
      { temperature: 0.5, ...views },
    ),
  },
  {
    name: 'distilled scores of own documents alone',
    counts: [2, 3],
    loss: distillScores(
      [
        [0.9, 0.4, null],
        [0.3, null, 0.2],
      ],
      { temperature: 0.5, teacherTemperature: 0.2, ...views },
    ),
  },
  {
    name: 'distilled vectors',
    counts: [3],
    loss: distillVectors([gaussian(4, 1), gaussian(4, 2), gaussian(4, 3)]),
  },
  {
    name: 'distilled vectors at two sizes',
    counts: [3],
    loss: distillVectors([gaussian(6, 1), gaussian(6, 2), gaussian(6, 3)], {
      sizes: [2, 6],
      weights: [1, 0.5],
    }),
  },
];

onEveryBackend(() => {
  for (const { name, counts, loss } of CASES) {
    test(`${name}: the gradient is the finite difference`, async () => {
      registerGradients();
      const rows = counts.reduce((a, b) => a + b, 0);
      const pooled = gaussianTensor([rows, WIDTH], 5);
      const tokens = gaussianTensor([17, 6], 6);
      const f = (p: tf.Tensor2D, t: tf.Tensor2D) => loss.compute(sidesFrom(counts, p, t));
      await expectNoLeak(async () => {
        const both = loss.multi ? [pooled, tokens] : [pooled];
        const gradients = tf.tidy(() =>
          tf.grads((p: tf.Tensor, t: tf.Tensor = tokens) => f(p as tf.Tensor2D, t as tf.Tensor2D))(both),
        );
        for (const [k, input] of both.entries()) {
          const values = await input.data();
          const step = 1e-2;
          const at = async (i: number, by: number) => {
            const moved = Float32Array.from(values);
            moved[i] += by;
            const result = tf.tidy(() => {
              const x = tf.tensor2d(moved, input.shape);
              return k === 0 ? f(x, tokens) : f(pooled, x);
            });
            const [value] = await result.data();
            result.dispose();
            return value;
          };
          const differences: number[] = [];
          for (let i = 0; i < values.length; i++) {
            differences.push(((await at(i, step)) - (await at(i, -step))) / (2 * step));
          }
          expectClose(await gradients[k].data(), differences, {
            relativeToMax: 5e-3,
            what: `${name}, input ${k}`,
          });
        }
        tf.dispose(gradients);
      });
      tf.dispose([pooled, tokens]);
    });
  }

  test('a batch whose pairs agree and whose strangers do not costs almost nothing', async () => {
    const [value] = await tf
      .tidy(() => {
        const pooled = tf.concat([tf.eye(3, WIDTH), tf.eye(3, WIDTH)]) as tf.Tensor2D;
        return infoNce({ temperature: 0.25 }).compute(sidesFrom([3, 3], pooled, tf.ones([17, 6])));
      })
      .data();
    expect(value).toBeCloseTo(Math.log(1 + 2 * Math.exp(-4)), 6);
  });

  const lossOf = async (loss: Loss, counts: readonly number[], pooled: tf.Tensor2D): Promise<number> => {
    const result = tf.tidy(() => loss.compute(sidesFrom(counts, pooled, tf.ones([17, 6]))));
    const [value] = await result.data();
    result.dispose();
    return value;
  };

  test('a vector is as far from its teacher as the weighted sizes say, each cut and normalised again', async () => {
    const teacher = [gaussian(6, 1), gaussian(6, 2)];
    const pooled = gaussianTensor([2, WIDTH], 5);
    const student = await pooled.data();
    const apart = (size: number): number => {
      const cosines = teacher.map((t, i) => {
        const [a, b] = [t.slice(0, size), student.slice(i * WIDTH, i * WIDTH + size)];
        return a.reduce((sum, v, k) => sum + v * b[k], 0) / Math.hypot(...a) / Math.hypot(...b);
      });
      return 1 - (cosines[0] + cosines[1]) / 2;
    };
    const both = distillVectors(teacher, { sizes: [2, 6], weights: [3, 1] });
    expect(await lossOf(both, [2], pooled)).toBeCloseTo((3 * apart(2) + apart(6)) / 4, 5);
    expect(await lossOf(distillVectors(teacher), [2], pooled)).toBeCloseTo(apart(6), 5);
    pooled.dispose();
  });

  test("a document that the teacher did not see changes nothing of a query's loss", async () => {
    const pooled = gaussianTensor([4, WIDTH], 5);
    const seen = distillScores([[0.9, 0.4]], { temperature: 0.5 });
    const beside = distillScores([[0.9, 0.4, null]], { temperature: 0.5 });
    const fewer = tf.slice(pooled, [0, 0], [3, WIDTH]);
    expect(await lossOf(beside, [1, 3], pooled)).toBeCloseTo(await lossOf(seen, [1, 2], fewer), 6);
    tf.dispose([pooled, fewer]);
  });
});

test("what a teacher's vectors cannot teach is refused", () => {
  const teacher = [gaussian(4, 1)];
  expect(() => distillVectors(teacher, { multi: 0.5 })).toThrow(
    /multi-vectors were asked for.*distil scores/,
  );
  expect(() => distillVectors(teacher, { sizes: [2, 8] })).toThrow(
    /size of 8 .* vectors of 4 values; leave it out/,
  );
});
