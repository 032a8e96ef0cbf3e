import * as tf from '@tensorflow/tfjs-core';
import { float32Matrix, type LoraTerm } from '../../../kernels/index.ts';
import { InputError } from '../../errors.ts';
import { readFactors } from '../algebra/factors.ts';
import { checkPlain } from '../check-plain.ts';
import type { Adapter } from '../with-adapters.ts';
import { checkTerms } from './check-terms.ts';
import { type CombinedTerm, combineTerm } from './combine-term.ts';
import { combinationOf, type RecipeOptions } from './recipe.ts';

export type CombineOptions = RecipeOptions & {
  /** What the result is called. Default: the names, joined by `+`. */
  readonly name?: string;
  /** Told after every module. */
  readonly onProgress?: (done: number, total: number) => void;
  readonly signal?: AbortSignal;
};

/**
 * One adapter out of several, after PEFT's `add_weighted_adapter` (peft 0.21: tuners/lora/model.py). Its scale is 1, its
 * tensors float32 and its own; the adapters that went in stay as they are. A module that an adapter does not have is
 * combined from the others. Computed on the CPU, in double precision, so that it is the same on every backend.
 *
 * | type | result | rank |
 * |---|---|---|
 * | `cat` | the weighted sum of the changes, exactly | the sum of the ranks |
 * | `svd` | the same, cut to `svdRank`; exact if that is the sum of the ranks | svdRank, or the largest |
 * | `linear` | A and B summed apart: with cross terms between adapters, an approximation | the common rank |
 * | `ties`, `dare_linear`, `dare_ties`, `magnitude_prune` | A and B pruned and merged apart | the common rank |
 * | the same with `_svd` | the changes pruned and merged, then decomposed | svdRank, or the largest |
 *
 * One adapter alone is always `linear`, which is then exact. At 2048 × 11008 and rank 32, two adapters take 50 ms with
 * `linear`, 0.5 s with `svd`; pruned types with `_svd` form every change in full, which takes 17 to 40 s at 2048 × 2048 and 50 to
 * 70 s at 2048 × 11008: two to three hours for a whole adapter of the published model.
 *
 * `dare_*` draw from `seed`: the same numbers everywhere, but not torch's.
 *
 * @throws InputError for an unknown type, options out of range, ranks or shapes that do not go together, or terms that
 *   cannot be combined (DoRA, a bias of B, maps that are replaced; a ReLU between the matrices, except with `cat`)
 */
export async function combineAdapters(
  adapters: readonly Adapter[],
  weights: readonly number[],
  options: CombineOptions = {},
): Promise<Adapter> {
  const { onProgress, signal, name = adapters.map((a) => a.name).join('+') } = options;
  checkWeights(adapters, weights);
  for (const adapter of adapters) checkPlain(adapter, 'combined');
  const asked = combinationOf(options);
  // As in PEFT. Stacking one adapter is the same product, and is sound with a ReLU, too.
  const how = adapters.length > 1 ? asked : combinationOf({ type: loneType(adapters[0]) });
  const modules = [...new Set(adapters.flatMap((a) => [...a.terms.keys()]))];
  for (const module of modules) checkTerms(module, adapters, how);
  const rank = how.svdRank ?? Math.max(...adapters.map((a) => a.rank));

  const terms = new Map<string, LoraTerm>();
  const dispose = () => {
    for (const { a, b } of terms.values()) {
      a.dispose();
      b.dispose();
    }
  };
  try {
    for (const [done, module] of modules.entries()) {
      signal?.throwIfAborted();
      const present = adapters.flatMap((a, k) => {
        const term = a.terms.get(module);
        return term ? [{ term, weight: weights[k] }] : [];
      });
      const factors = await Promise.all(present.map(({ term }) => readFactors(term)));
      const own = { module, factors, weights: present.map(({ weight }) => weight) };
      const [{ inSize, outSize }] = factors;
      terms.set(module, termOf(await combineTerm(own, how, rank, signal), inSize, outSize));
      onProgress?.(done + 1, modules.length);
      await new Promise((resolve) => setTimeout(resolve)); // a page stays alive, an abort gets its turn
    }
  } catch (error) {
    dispose();
    throw error;
  }
  const all = [...terms.values()];
  return {
    name,
    rank: Math.max(0, ...all.map(({ a }) => a.outSize)),
    terms,
    kernels: new Map(adapters.flatMap((a) => [...(a.kernels ?? [])])),
    parameters: all.reduce((sum, { a, b }) => sum + a.outSize * (a.inSize + b.outSize), 0),
    dispose,
  };
}

const termOf = ({ a, b, rank, activation }: CombinedTerm, inSize: number, outSize: number): LoraTerm => ({
  a: float32Matrix(tf.tensor2d(a, [inSize, rank])),
  b: float32Matrix(tf.tensor2d(b, [rank, outSize])),
  scale: 1,
  activation,
});

const loneType = ({ terms }: Adapter): 'linear' | 'cat' =>
  [...terms.values()].some((t) => t.activation !== 'none') ? 'cat' : 'linear';

function checkWeights(adapters: readonly Adapter[], weights: readonly number[]): void {
  if (adapters.length === 0) throw new InputError('nothing to combine: the list of adapters is empty');
  if (weights.length !== adapters.length) {
    throw new InputError(
      `there are ${adapters.length} adapters but ${weights.length} weights; give one for each`,
    );
  }
  const stray = weights.findIndex((w) => !Number.isFinite(w));
  if (stray >= 0)
    throw new InputError(`weight ${stray}, of "${adapters[stray].name}", is no number: ${weights[stray]}`);
}
