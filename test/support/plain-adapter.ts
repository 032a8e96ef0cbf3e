import * as tf from '@tensorflow/tfjs-core';
import { float32Matrix, type LoraTerm } from '../../kernels/index.ts';
import { deltaOf, readFactors } from '../../src/adapters/algebra/factors.ts';
import type { Adapter } from '../../src/adapters/with-adapters.ts';
import { gaussian } from './close.ts';

export type PlainTerm = {
  /** [in, R] and [R, out], row by row. */
  readonly a: Float32Array;
  readonly b: Float32Array;
  readonly rank: number;
  readonly scale?: number;
  readonly activation?: LoraTerm['activation'];
};

/** An adapter from plain numbers. */
export function plainAdapter(name: string, modules: Readonly<Record<string, PlainTerm>>): Adapter {
  const terms = new Map(
    Object.entries(modules).map(([module, { a, b, rank, scale = 1, activation = 'none' }]) => [
      module,
      {
        a: float32Matrix(tf.tensor2d(a, [a.length / rank, rank])),
        b: float32Matrix(tf.tensor2d(b, [rank, b.length / rank])),
        scale,
        activation,
      },
    ]),
  );
  const all = [...terms.values()];
  return {
    name,
    rank: Math.max(...all.map(({ a }) => a.outSize)),
    terms,
    parameters: all.reduce((sum, { a, b }) => sum + a.outSize * (a.inSize + b.outSize), 0),
    dispose: () => {
      for (const { a, b } of all) {
        a.dispose();
        b.dispose();
      }
    },
  };
}

/** Seeded random matrices. */
export const randomTerm = (
  { inSize, outSize, rank, ...more }: { inSize: number; outSize: number; rank: number } & Partial<PlainTerm>,
  seed: number,
): PlainTerm => ({
  a: gaussian(inSize * rank, seed),
  b: gaussian(rank * outSize, seed + 1),
  rank,
  ...more,
});

/** The change that an adapter makes at a module.   [in, out], row by row */
export async function deltaAt(adapter: Adapter, module: string): Promise<Float32Array> {
  const term = adapter.terms.get(module);
  if (!term) throw new Error(`"${adapter.name}" has no term on ${module}`);
  return deltaOf(await readFactors(term));
}
