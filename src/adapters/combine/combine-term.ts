import type { LoraActivation } from '../../../kernels/index.ts';
import { deltaOf, type Factors, inVectors, outVectors } from '../algebra/factors.ts';
import { productSvd } from '../algebra/svd.ts';
import { truncatedSvd } from '../algebra/truncated-svd.ts';
import { scaled } from '../algebra/vectors.ts';
import { randomStream } from './random-stream.ts';
import { type Combination, mergeValues, type Prune, pruning } from './recipe.ts';
import { clampPair, type PlainPair, svdFactors } from './svd-factors.ts';

/** The terms of one module, and the weights of the adapters that they come from. */
export type Terms = {
  readonly module: string;
  readonly factors: readonly Factors[];
  readonly weights: readonly number[];
};

/** What stands at a module afterwards, at scale 1. */
export type CombinedTerm = PlainPair & { readonly activation: LoraActivation };

/** Combines the terms of one module; they were judged before. `rank`: that of an SVD's result. */
export async function combineTerm(
  terms: Terms,
  how: Combination,
  rank: number,
  signal?: AbortSignal,
): Promise<CombinedTerm> {
  const { activation } = terms.factors[0];
  if (how.on === 'stack') return { ...stacked(terms), activation };
  if (how.on === 'factors') return { ...factorwise(terms, how), activation };
  const pair = await decomposed(terms, how, rank, signal);
  return { ...(how.svdClamp === null ? pair : clampPair(pair, how.svdClamp)), activation };
}

/**
 * Matrices side by side: the change is exactly Σ w s A B. The size of w s goes to A and its sign to B, which is the same
 * thing for a plain LoRA, and the only way for one with a ReLU between: c · relu(x) = relu(c x) needs c ≥ 0.
 */
export function stacked({ factors, weights }: Pick<Terms, 'factors' | 'weights'>): PlainPair {
  const rank = factors.reduce((sum, f) => sum + f.rank, 0);
  const { inSize, outSize } = factors[0];
  const a = new Float32Array(inSize * rank);
  const b = new Float32Array(rank * outSize);
  let at = 0;
  factors.forEach((f, k) => {
    const weight = weights[k] * f.scale;
    for (let i = 0; i < inSize; i++) {
      for (let r = 0; r < f.rank; r++) a[i * rank + at + r] = Math.abs(weight) * f.a[i * f.rank + r];
    }
    b.set(weight < 0 ? f.b.map((x) => -x) : f.b, at * outSize);
    at += f.rank;
  });
  return { a, b, rank };
}

/** √|w s| on both sides, the sign on A alone; A and B are merged apart from each other. */
function factorwise(terms: Terms, how: Combination): PlainPair {
  const { factors, weights, module } = terms;
  const pruneOf = (side: string): Prune =>
    pruning(how, (k) => randomStream(how.seed, `${module}/${side}/${k}`));
  const roots = factors.map((f, k) => Math.sqrt(Math.abs(weights[k] * f.scale)));
  return {
    a: mergeValues(
      factors.map((f) => f.a),
      roots.map((root, k) => (weights[k] * factors[k].scale < 0 ? -root : root)),
      how,
      pruneOf('A'),
    ),
    b: mergeValues(
      factors.map((f) => f.b),
      roots,
      how,
      pruneOf('B'),
    ),
    rank: factors[0].rank,
  };
}

/** The merged change, decomposed and cut to a rank. */
async function decomposed(
  { factors, weights, module }: Terms,
  how: Combination,
  rank: number,
  signal?: AbortSignal,
): Promise<PlainPair> {
  // A weighted sum of low-rank matrices is one itself, and need not be formed.
  if (!how.elect && (how.prune === 'none' || how.density === 1)) {
    const left = factors.flatMap((f, k) => inVectors(f).map((x) => scaled(x, weights[k] * f.scale)));
    return svdFactors(productSvd(left, factors.flatMap(outVectors)), rank);
  }
  const { inSize, outSize } = factors[0];
  const prune = pruning(how, (k) => randomStream(how.seed, `${module}/delta/${k}`));
  const merged = mergeValues(factors.map(deltaOf), weights, how, prune);
  const rows = Array.from({ length: inSize }, (_, i) =>
    Float64Array.from(merged.subarray(i * outSize, (i + 1) * outSize)),
  );
  const most = Math.min(rank, inSize, outSize);
  const random = randomStream(0, module);
  return svdFactors(await truncatedSvd(rows, { rank: most, random, signal }), most);
}
