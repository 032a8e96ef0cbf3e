import { InputError } from '../../errors.ts';
import { electedMean, MAJORITY_SIGNS, type MajoritySign, weightedSum } from './merge-values.ts';
import { keepAtRandom, keepLargest } from './prune.ts';

/** What a kind of combination does: to A and B each, or to the changes A B; which entries stay; whether signs are elected. */
type Recipe = {
  readonly on: 'stack' | 'factors' | 'deltas';
  readonly prune: 'none' | 'largest' | 'random';
  readonly elect: boolean;
};

const recipe = (on: Recipe['on'], prune: Recipe['prune'], elect: boolean): Recipe => ({ on, prune, elect });

/** The combination types of PEFT.   (peft: tuners/lora/model.py, add_weighted_adapter) */
const RECIPES = {
  linear: recipe('factors', 'none', false),
  cat: recipe('stack', 'none', false),
  svd: recipe('deltas', 'none', false),
  ties: recipe('factors', 'largest', true),
  dare_linear: recipe('factors', 'random', false),
  dare_ties: recipe('factors', 'random', true),
  magnitude_prune: recipe('factors', 'largest', false),
  ties_svd: recipe('deltas', 'largest', true),
  dare_linear_svd: recipe('deltas', 'random', false),
  dare_ties_svd: recipe('deltas', 'random', true),
  magnitude_prune_svd: recipe('deltas', 'largest', false),
} as const satisfies Record<string, Recipe>;

export type CombinationType = keyof typeof RECIPES;
export const COMBINATION_TYPES = Object.keys(RECIPES) as readonly CombinationType[];

export type RecipeOptions = {
  /** Default `svd`, as in PEFT. */
  readonly type?: CombinationType;
  /** The part of the entries that stays, 0 to 1. Types that prune need it; others do not look at it. */
  readonly density?: number;
  /** Default `total`. */
  readonly majoritySign?: MajoritySign;
  /** Rank of the result, for `svd` and `*_svd`. Default: the largest rank that comes in. */
  readonly svdRank?: number;
  /** Clamps the factors of an SVD to this quantile of their values, 0 to 1. Default: no clamp. */
  readonly svdClamp?: number;
  /** Of what `dare_*` drops. Default 0. */
  readonly seed?: number;
};

/** Options, judged, with their defaults. */
export type Combination = Recipe & {
  readonly type: CombinationType;
  readonly density: number;
  readonly majoritySign: MajoritySign;
  readonly svdRank: number | null;
  readonly svdClamp: number | null;
  readonly seed: number;
};

/** @throws InputError for an unknown type or sign, a missing or impossible density, rank, quantile or seed */
export function combinationOf(options: RecipeOptions): Combination {
  const { type = 'svd', majoritySign = 'total', svdRank = null, svdClamp = null, seed = 0 } = options;
  if (!COMBINATION_TYPES.includes(type))
    throw new InputError(`unknown combination type "${type}"; there are ${COMBINATION_TYPES.join(', ')}`);
  if (!MAJORITY_SIGNS.includes(majoritySign))
    throw new InputError(`unknown majoritySign "${majoritySign}"; there are ${MAJORITY_SIGNS.join(', ')}`);
  const steps: Recipe = RECIPES[type];
  if (svdRank !== null && !(Number.isSafeInteger(svdRank) && svdRank > 0))
    throw new InputError(`svdRank must be a whole number from 1, got ${svdRank}`);
  if (svdClamp !== null && !(svdClamp > 0 && svdClamp <= 1))
    throw new InputError(`svdClamp is a quantile above 0, up to 1, got ${svdClamp}`);
  if ((svdRank !== null || svdClamp !== null) && steps.on !== 'deltas')
    throw new InputError(
      `svdRank and svdClamp are for svd and the types that end in _svd, not for "${type}"`,
    );
  if (!Number.isSafeInteger(seed)) throw new InputError(`seed must be a whole number, got ${seed}`);
  return {
    ...steps,
    type,
    majoritySign,
    svdRank,
    svdClamp,
    seed,
    density: densityOf(type, steps, options.density),
  };
}

function densityOf(type: CombinationType, { prune }: Recipe, density: number | undefined): number {
  if (prune === 'none') return 1;
  if (density === undefined)
    throw new InputError(`"${type}" prunes: give density, the part of the entries that stays, up to 1`);
  // Nothing that stays cannot be scaled up to what was there.
  if (density >= 0 && density <= 1 && !(density === 0 && prune === 'random')) return density;
  const range = prune === 'random' ? 'above 0, up to 1' : 'from 0 to 1';
  throw new InputError(`density is a part of the entries, for "${type}" ${range}; got ${density}`);
}

/** Prunes one tensor of the `index`-th adapter. */
export type Prune = (values: Float32Array, index: number) => Float32Array;

/** The pruning of a recipe; `random` gives the numbers that the `index`-th adapter's tensor is thinned with. */
export const pruning =
  ({ prune, density }: Combination, random: (index: number) => () => number): Prune =>
  (values, index) => {
    if (prune === 'none') return values;
    return prune === 'largest' ? keepLargest(values, density) : keepAtRandom(values, density, random(index));
  };

/** Tensors of equal size → one. */
export function mergeValues(
  tensors: readonly Float32Array[],
  weights: readonly number[],
  { elect, majoritySign }: Combination,
  prune: Prune,
): Float32Array {
  const pruned = tensors.map(prune);
  return elect ? electedMean(pruned, weights, majoritySign) : weightedSum(pruned, weights);
}
