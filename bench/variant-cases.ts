import * as tf from '@tensorflow/tfjs-core';
import { composed, linear, matrixStore } from '../kernels/index.ts';
import { chooseWay, possibleHere, waysOf } from '../kernels/linear/variant-choice.ts';
import { useKernels, type Way } from '../kernels/product-settings.ts';
import { narrowToBf16 } from '../weights/narrow.ts';
import { attentionCase, values } from './kernel-cases.ts';
import { checkClose, finished, inTurns, type Times } from './measure.ts';

/** A linear map [in, out], and how many of it a block has. */
export type Product = { readonly inSize: number; readonly outSize: number; readonly count: number };

/** The linear maps of a decoder block: q and o, k and v, gate and up, down. */
export const productsOf = (D: number, kv: number, F: number): readonly Product[] => [
  { inSize: D, outSize: D, count: 2 },
  { inSize: D, outSize: kv, count: 2 },
  { inSize: D, outSize: F, count: 2 },
  { inSize: F, outSize: D, count: 1 },
];

const flopsOf = (rows: number, { inSize, outSize }: Product): number => 2 * rows * inSize * outSize;

export type WayTimes = Times & {
  readonly way: Way;
  readonly gflops: number;
  /** Against plain WGSL, as a part of the largest value. */
  readonly error: number;
  /** What `auto` takes: in float32, in float16, or both. */
  readonly chosen: readonly ('float32' | 'float16')[];
};

const ALLOWED: Readonly<Record<Way, number>> = { plain: 1e-5, subgroups: 1e-5, half: 2e-3, matrix: 2e-3 };

const LEAST_MS = 20; // of what is timed at once: a GPU is done with a product before the host has asked how it went
const MOST_AT_ONCE = 50;

/** A product of `rows` rows with bfloat16 weights, in every way that this device has for it, in turns. Verified first. */
export async function timeWays(rows: number, product: Product, runs: number): Promise<readonly WayTimes[]> {
  const { inSize, outSize } = product;
  const what = `${rows}×${inSize}×${outSize}`;
  const words = narrowToBf16(values('w', inSize * outSize, 1 / Math.sqrt(inSize)));
  const bytes = new Uint8Array(words.buffer);
  const weight = matrixStore().packed({ bytes, dtype: 'BF16', outSize, inSize });
  const xs = values('x', rows * inSize);
  const x = tf.tensor2d(xs, [rows, inSize]);
  const run = (way: Way) => {
    const before = useKernels({ half: true, prefer: way });
    try {
      return linear({ x, weight, bias: null, lora: [] });
    } finally {
      useKernels(before);
    }
  };
  try {
    const possible = possibleHere(rows, outSize);
    const ways = waysOf(possible, { half: true, prefer: null });
    const errors = new Map<Way, number>();
    const plain = await read(run('plain'));
    const places = Array.from({ length: 16 }, (_, i) => [
      Math.floor((i * rows) / 16) % rows,
      (i * 997) % outSize,
    ]);
    const byHand = places.map(([t, o]) => dot(xs.subarray(t * inSize, (t + 1) * inSize), words, o * inSize));
    checkClose(
      `${what}, plain, by hand`,
      places.map(([t, o]) => plain[t * outSize + o]),
      byHand,
      ALLOWED.plain,
    );
    for (const way of ways)
      errors.set(way, checkClose(`${what}, ${way}`, await read(run(way)), plain, ALLOWED[way]));
    const began = performance.now();
    await finished(() => run('plain'));
    const atOnce = Math.min(MOST_AT_ONCE, Math.ceil(LEAST_MS / (performance.now() - began)));
    const several = async (way: Way) => {
      for (let i = 1; i < atOnce; i++) run(way).dispose();
      await finished(() => run(way));
    };
    const candidates = Object.fromEntries(ways.map((way) => [way, () => several(way)]));
    const times = await inTurns(candidates as Record<Way, () => Promise<void>>, { warmUp: 1, runs });
    const wayIn = (half: boolean) => chooseWay(possible, { half, prefer: null });
    return ways.map((way) => ({
      way,
      ms: times[way].ms / atOnce,
      best: times[way].best / atOnce,
      gflops: (atOnce * flopsOf(rows, product)) / times[way].ms / 1e6,
      error: errors.get(way) as number,
      chosen: (['float32', 'float16'] as const).filter((p) => wayIn(p === 'float16') === way),
    }));
  } finally {
    x.dispose();
    weight.dispose();
  }
}

/** Products of a block that went one way. Small ones may go another: then this is not all of them. */
export type WaySum = Pick<WayTimes, 'way' | 'error' | 'gflops' | 'chosen' | 'ms'> & {
  readonly flops: number;
};

/** What the products of a block add up to, by way. */
export function sumOfWays(
  rows: number,
  measured: readonly (readonly [Product, readonly WayTimes[]])[],
): readonly WaySum[] {
  const sums = new Map<Way, WaySum>();
  for (const [product, times] of measured) {
    for (const { way, ms, error, chosen } of times) {
      const before = sums.get(way) ?? { ms: 0, flops: 0, error: 0, chosen: [] };
      const sum = {
        ms: before.ms + product.count * ms,
        flops: before.flops + product.count * flopsOf(rows, product),
      };
      sums.set(way, {
        way,
        ...sum,
        gflops: sum.flops / sum.ms / 1e6,
        error: Math.max(before.error, error),
        chosen: [...new Set([...before.chosen, ...chosen])],
      });
    }
  }
  return [...sums.values()];
}

/** Causal attention of the published heads with and without subgroups, in turns. Verified first. */
export async function timeAttention(
  rows: number,
  runs: number,
): Promise<{ readonly name: string; readonly error: number } & Record<'plain' | 'subgroups', Times>> {
  tf.engine().startScope();
  try {
    const { name, run } = attentionCase([rows], true);
    const by = (prefer: Way) => () => {
      const before = useKernels({ prefer });
      try {
        return run();
      } finally {
        useKernels(before);
      }
    };
    const expected = await read(composed(run));
    const ways = { plain: by('plain'), subgroups: by('subgroups') };
    const error = Math.max(
      checkClose(`${name}, plain`, await read(ways.plain()), expected, 1e-4),
      checkClose(`${name}, subgroups`, await read(ways.subgroups()), expected, 1e-4),
    );
    const times = await inTurns(
      { plain: () => finished(ways.plain), subgroups: () => finished(ways.subgroups) },
      { warmUp: 1, runs },
    );
    return { name, error, ...times };
  } finally {
    tf.engine().endScope();
  }
}

async function read(y: tf.Tensor): Promise<Float32Array> {
  const data = (await y.data()) as Float32Array;
  y.dispose();
  return data;
}

/** x · w in float64, w: bfloat16 words from `at` on. */
function dot(x: Float32Array, words: Uint16Array, at: number): number {
  const bits = Uint32Array.from(words.subarray(at, at + x.length), (word) => word << 16);
  const w = new Float32Array(bits.buffer);
  return x.reduce((sum, v, i) => sum + v * w[i], 0);
}
