import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { onEveryBackend } from '../../test/support/backends.ts';
import { expectTensorClose, gaussian, gaussianTensor } from '../../test/support/close.ts';
import { narrowToBf16 } from '../../weights/narrow.ts';
import {
  composed,
  float32Matrix,
  gated,
  heads,
  joinedAttention,
  linear,
  type Matrix,
  matrixStore,
  normLow,
  registerGradients,
  rmsNorm,
  rope,
} from '../index.ts';
import { chooseAsIfEmulated, isEmulated } from '../webgpu/emulation.ts';
import type { AffineMap } from './fan.ts';

type Two = tf.Tensor2D;
type MapCase = {
  readonly out: number;
  /** Rank of its term; none: 0. */
  readonly rank: number;
  readonly relu?: boolean;
  readonly bias?: boolean;
};
type Case = {
  readonly T: number;
  readonly D: number;
  /** Of a head. */
  readonly H: number;
  readonly turned: number;
  readonly maps: readonly MapCase[];
  readonly packed?: boolean;
};

const EPS = 1e-6;

function stored(outSize: number, inSize: number, seed: number, packed: boolean): Matrix {
  const values = gaussian(outSize * inSize, seed).map((v) => v / Math.sqrt(inSize));
  const bytes = new Uint8Array((packed ? narrowToBf16(values) : values).buffer);
  const raw = { bytes, dtype: packed ? 'BF16' : 'F32', outSize, inSize } as const;
  return packed ? matrixStore().packed(raw) : matrixStore().float32(raw);
}

const mapOf = (
  { out, rank, relu, bias = true }: MapCase,
  D: number,
  seed: number,
  packed = false,
): AffineMap => ({
  weight: stored(out, D, seed, packed),
  bias: bias ? tf.tensor1d(gaussian(out, seed + 1)) : null,
  lora:
    rank === 0
      ? []
      : [
          {
            a: stored(rank, D, seed + 2, packed),
            b: stored(out, rank, seed + 3, packed),
            scale: 0.5 * seed,
            activation: relu ? 'relu' : 'none',
          },
        ],
});

function disposeMaps(maps: readonly AffineMap[]): void {
  for (const { weight, bias, lora } of maps) {
    weight.dispose();
    bias?.dispose();
    for (const { a, b } of lora) {
      a.dispose();
      b.dispose();
    }
  }
}

/** Angles whose halves differ, so that a mistaken half shows. */
const rotaryOf = (T: number, H: number): { cos: Two; sin: Two } =>
  tf.tidy(() => {
    const angles = gaussianTensor([T, H], 90, 2);
    return { cos: tf.keep(tf.cos(angles)), sin: tf.keep(tf.sin(angles)) };
  });

const CASES: readonly Case[] = [
  {
    T: 1,
    D: 64,
    H: 16,
    turned: 3,
    maps: [
      { out: 32, rank: 8 },
      { out: 16, rank: 8 },
      { out: 16, rank: 8 },
    ],
  },
  {
    T: 8,
    D: 68,
    H: 10,
    turned: 3,
    maps: [
      { out: 20, rank: 3, relu: true },
      { out: 10, rank: 0 },
      { out: 10, rank: 5 },
    ],
  },
  {
    T: 9,
    D: 36,
    H: 6,
    turned: 4,
    maps: [
      { out: 18, rank: 0 },
      { out: 6, rank: 0 },
      { out: 6, rank: 0 },
    ],
  },
  {
    T: 33,
    D: 64,
    H: 32,
    turned: 4,
    maps: [
      { out: 96, rank: 16 },
      { out: 32, rank: 16, bias: false },
      { out: 32, rank: 16 },
    ],
    packed: true,
  },
  { T: 70, D: 80, H: 20, turned: 8, maps: [{ out: 240, rank: 0 }] }, // a block of the tower
  { T: 65, D: 16, H: 16, turned: 64, maps: [{ out: 1536, rank: 4, bias: false }], packed: true },
  {
    T: 13,
    D: 6,
    H: 2,
    turned: 1,
    maps: [
      { out: 4, rank: 2 },
      { out: 2, rank: 1 },
    ],
  }, // rows of no whole fours
];

const nameOf = ({ T, D, H, maps, packed }: Case): string =>
  `[${T}, ${D}] → heads of ${H}, ${JSON.stringify(maps)}${packed ? ', bfloat16' : ''}`;

function compareAll(): void {
  describe.each(CASES.map((c) => [nameOf(c), c] as const))(
    'maps of %s',
    (what, { T, D, H, turned, maps: cases, packed }) => {
      test('are those of norm, linear and rope, side by side', async () => {
        const [x, weight] = [gaussianTensor([T, D], 1, 3), tf.tensor1d(gaussian(D, 2))];
        const { cos, sin } = rotaryOf(T, H);
        const maps = cases.map((c, i) => mapOf(c, D, 10 * (i + 1), packed));
        const rows = normLow({ x, weight, maps }, { eps: EPS });
        const found = heads({ rows, maps, cos, sin }, { turned });
        const expected = tf.tidy(() =>
          composed(() => {
            const normed = rmsNorm(x, weight, EPS);
            const made: Two = tf.concat(
              maps.map((map) => linear({ ...map, x: normed })),
              1,
            );
            const [turning, still] = tf.split<Two>(made, [turned * H, made.shape[1] - turned * H], 1);
            return tf.concat([rope(turning, cos, sin, turned), still], 1) as Two;
          }),
        );
        await expectTensorClose(found, expected, { relativeToMax: 1e-5, what });
        disposeMaps(maps);
        tf.dispose([x, weight, cos, sin, rows, found, expected]);
      });

      test('are those of norm, linear and SwiGLU, gated', async () => {
        const [x, weight] = [gaussianTensor([T, D], 1, 3), tf.tensor1d(gaussian(D, 2))];
        const [gate, up] = [cases[0], cases[cases.length - 1]].map((c, i) =>
          mapOf({ ...c, out: cases[0].out + 1 }, D, 10 * (i + 1), packed),
        );
        const rows = normLow({ x, weight, maps: [gate, up] }, { eps: EPS });
        const found = gated({ rows, gate, up });
        const expected = tf.tidy(() =>
          composed(() => {
            const normed = rmsNorm(x, weight, EPS);
            return linear({ ...up, x: normed, gate: linear({ ...gate, x: normed }) });
          }),
        );
        await expectTensorClose(found, expected, { relativeToMax: 1e-5, what });
        disposeMaps([gate, up]);
        tf.dispose([x, weight, rows, found, expected]);
      });
    },
  );
}

onEveryBackend((backend) => {
  describe('as it is', compareAll);
  // A GPU that is emulated has shaders of its own; those of a real one are tested there as well.
  describe.runIf(backend === 'webgpu')('as the other kind of GPU', () => {
    beforeAll(() => chooseAsIfEmulated(!isEmulated()));
    afterAll(() => chooseAsIfEmulated(null));
    compareAll();
  });

  test('attention reads queries, keys and values from one tensor', async () => {
    for (const { N, K, H, causal } of [
      { N: 4, K: 2, H: 16, causal: true },
      { N: 2, K: 2, H: 80, causal: false },
      { N: 3, K: 1, H: 6, causal: true }, // heads of no whole fours
    ]) {
      const attrs = { heads: N, kvHeads: K, cuSeqlens: [0, 33, 34, 70], causal };
      const qkv = gaussianTensor([70, (N + 2 * K) * H], 1);
      const found = joinedAttention(qkv, attrs);
      const expected = composed(() => joinedAttention(qkv, attrs));
      await expectTensorClose(found, expected, { relativeToMax: 1e-5, what: `${N}:${K} heads of ${H}` });
      tf.dispose([qkv, found, expected]);
    }
  });

  test('a gradient goes back through the truth', async () => {
    registerGradients();
    const maps = [mapOf({ out: 8, rank: 4 }, 12, 10), mapOf({ out: 4, rank: 0 }, 12, 20)];
    const weight = tf.tensor1d(gaussian(12, 2));
    const half = rotaryOf(5, 2);
    const [cos, sin] = [half.cos, half.sin].map((t): Two => tf.concat([t, t], 1)); // rope goes back by the opposite angle
    const x = gaussianTensor([5, 12], 1);
    const loss = (value: Two) => tf.sum(tf.square(value)) as tf.Scalar;
    const fanned = tf.grad((t) =>
      loss(
        heads({ rows: normLow({ x: t as Two, weight, maps }, { eps: EPS }), maps, cos, sin }, { turned: 2 }),
      ),
    );
    const apart = tf.grad((t) => {
      const normed = rmsNorm(t as Two, weight, EPS);
      const made: Two = tf.concat(
        maps.map((map) => linear({ ...map, x: normed })),
        1,
      );
      const [turning, still] = tf.split<Two>(made, [8, 4], 1);
      return tf.add(loss(rope(turning, cos, sin, 2)), loss(still));
    });
    const [found, expected] = [fanned(x), apart(x)];
    await expectTensorClose(found, expected, { relativeToMax: 1e-5, what: 'gradient of heads' });
    disposeMaps(maps);
    tf.dispose([weight, half.cos, half.sin, cos, sin, x, found, expected]);
  });

  test('what does not fit is refused with its numbers', () => {
    tf.tidy(() => {
      const matrix = (inSize: number, outSize: number) => float32Matrix(tf.zeros([inSize, outSize]));
      const plain = (inSize: number, outSize: number): AffineMap => ({
        weight: matrix(inSize, outSize),
        bias: null,
        lora: [],
      });
      const term = { a: matrix(8, 2), b: matrix(2, 4), scale: 1, activation: 'none' } as const;
      const [rows, table]: Two[] = [tf.zeros([3, 8]), tf.zeros([3, 4])];
      const weight: tf.Tensor1D = tf.zeros([8]);
      expect(() => normLow({ x: rows, weight, maps: [plain(6, 4)] }, { eps: EPS })).toThrow(
        'a map reads 6 values, a row has 8',
      );
      expect(() =>
        normLow({ x: rows, weight, maps: [{ ...plain(8, 4), lora: [term, term] }] }, { eps: EPS }),
      ).toThrow('may have one low-rank term, got 2');
      expect(() =>
        heads({ rows, maps: [{ ...plain(8, 4), lora: [term] }], cos: table, sin: table }, { turned: 1 }),
      ).toThrow('expected [T W] with {"W":12}, got [3, 8]');
      expect(() =>
        heads({ rows, maps: [plain(8, 4), plain(8, 6)], cos: table, sin: table }, { turned: 1 }),
      ).toThrow('1 heads of 4 cannot be turned in maps of 4, 6 columns');
      expect(() => gated({ rows, gate: plain(8, 4), up: plain(8, 5) })).toThrow('a gate of 4 columns on 5');
      expect(() =>
        joinedAttention(rows, { heads: 2, kvHeads: 1, cuSeqlens: [0, 3], causal: true }),
      ).not.toThrow();
      expect(() => joinedAttention(rows, { heads: 3, kvHeads: 1, cuSeqlens: [0, 3], causal: true })).toThrow(
        '5 heads of queries, keys and values cannot share 8 columns',
      );
    });
  });
});
