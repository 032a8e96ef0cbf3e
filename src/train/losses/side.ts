import * as tf from '@tensorflow/tfjs-core';
import { l2Normalize, type Span } from '../../../kernels/index.ts';
import { InputError } from '../../errors.ts';
import { maxSim, pairedMaxSim } from './max-sim.ts';

/** The vectors of one side of a batch, as a loss sees them: n inputs. */
export type Side = {
  /** Means, not normalised.   [n, D] */
  readonly pooled: tf.Tensor2D;
  /** Unit vectors of the tokens of the whole stream [T, E] and where each input's lie in it; `null` unless asked for. */
  readonly tokens: { readonly vectors: tf.Tensor2D; readonly spans: readonly Span[] } | null;
};

/** One way to compare: every a with every b [n, m], or a[i] with b[i] [n]. Cosine, or MaxSim over the query's tokens. */
export type Scorer = {
  readonly all: (a: Side, b: Side) => tf.Tensor2D;
  readonly pairs: (a: Side, b: Side) => tf.Tensor1D;
};

/** Cosine of single vectors cut to `size`. */
export function cosine(size: number): Scorer {
  // One cut and one norm a side, however often a loss asks for it.
  const known = new Map<Side, tf.Tensor2D>();
  const unit = (side: Side): tf.Tensor2D => {
    const cut =
      known.get(side) ??
      l2Normalize(size === side.pooled.shape[1] ? side.pooled : firstColumns(side.pooled, size));
    known.set(side, cut);
    return cut;
  };
  return {
    all: (a, b) => tf.matMul(unit(a), unit(b), false, true),
    pairs: (a, b) => tf.sum(tf.mul(unit(a), unit(b)), 1),
  };
}

function firstColumns(x: tf.Tensor2D, size: number): tf.Tensor2D {
  const [rows, width] = x.shape;
  if (!(size >= 1 && size <= width)) {
    throw new InputError(`a Matryoshka size of ${size} does not fit vectors of ${width} values`);
  }
  return tf.slice(x, [0, 0], [rows, size]);
}

/** Late interaction: for every token of a, the best token of b; the mean over a's tokens. In [−1, 1], as a cosine. */
export const lateInteraction: Scorer = {
  all: (a, b) => maxSim(tokensOf(a), tokensOf(b)),
  pairs: (a, b) => pairedMaxSim(tokensOf(a), tokensOf(b)),
};

function tokensOf({ tokens }: Side) {
  if (tokens) return tokens;
  throw new InputError('a loss over multi-vectors needs the vectors of tokens; set multi on the batch');
}

/** At which Matryoshka sizes a loss is taken, with weights (default 1 each), and how much late interaction counts. */
export type Views = {
  /** Default: the full width alone. */
  readonly sizes?: readonly number[];
  readonly weights?: readonly number[];
  /** Weight of the same loss over multi-vectors. Default 0: not computed. */
  readonly multi?: number;
};

/** Σ weight · loss over all views, divided by the sum of the weights (Kusupati et al. 2022). → scalar */
export function overViews(
  { sizes, weights, multi = 0 }: Views,
  width: number,
  loss: (score: Scorer) => tf.Scalar,
): tf.Scalar {
  const cuts = sizes ?? [width];
  const shares = weights ?? cuts.map(() => 1);
  if (shares.length !== cuts.length) {
    throw new InputError(`${cuts.length} Matryoshka sizes need as many weights, got ${shares.length}`);
  }
  const terms = cuts.map((size, i) => tf.mul(loss(cosine(size)), shares[i]) as tf.Scalar);
  if (multi > 0) terms.push(tf.mul(loss(lateInteraction), multi));
  const total = shares.reduce((sum, w) => sum + w, multi);
  return tf.div(
    terms.reduce((sum, term) => tf.add(sum, term)),
    total,
  );
}
