import * as tf from '@tensorflow/tfjs-core';
import { type LoraTerm, linear as linearOp, type Matrix } from '../../kernels/index.ts';
import { TOKEN_TABLE } from '../../weights/names.ts';
import { CheckpointError, InputError } from '../errors.ts';
import { Held } from '../held.ts';
import type { Linear } from '../layers/linear.ts';
import { mapLinears } from '../params.ts';
import { residentLinears } from './each-linear.ts';
import { type Adapter, withAdapters } from './with-adapters.ts';

/** An adapter inside the weights. `params`: the tree as a pass with it sees it. */
export type Merge<T> = {
  readonly name: string;
  readonly params: T;
  /** Takes it out again and compares with how the maps were. → the largest error, as a part of the largest value */
  undo(): Promise<number>;
  /** Frees what the merge holds besides the weights, which stay merged. */
  dispose(): void;
};

type Target = { readonly linear: Linear; readonly term: LoraTerm };

// Of the largest value of x W for a random x. Rounding alone stays below 1e-6.
const ALLOWED = 1e-4;

/**
 * Puts an adapter into the weights themselves: W ← W + scale · A B, and with DoRA W ← m/n ⊙ (W + scale · A B), for every map
 * it sits on (peft: LoraLayer.merge, DoraLinearVariant). Biases and replaced parts are exchanged, not computed, and a term of
 * the token table stays beside it: few of its rows are looked up. Every map is
 * held to what it gave with the adapter beside it, on one random row; if one disagrees, all is taken back. Two matrices more
 * than the model at its peak.
 * @throws InputError for what cannot be merged, or taken back: a ReLU between the matrices, weights other than resident
 *   float32, a DoRA that shrinks a column to nothing; CheckpointError where the numbers do not survive it
 */
export async function mergeAdapter<T>(params: T, adapter: Adapter): Promise<Merge<T>> {
  const targets = await judged(params, adapter);
  const before = new Map<Target, Float32Array>();
  const expected = new Map<Target, Float32Array>();
  for (const target of targets) {
    before.set(target, await probe(target.linear.weight));
    expected.set(target, await probe(target.linear.weight, { ...target.term, bBias: null }));
  }
  const takeOut = (done: readonly Target[]) => {
    for (const { linear, term } of done) linear.weight.update?.((dense) => without(dense, term));
  };
  for (const { linear, term } of targets) linear.weight.update?.((dense) => joined(dense, term));
  const worst = await worstOf(targets, expected);
  if (!(worst.error <= ALLOWED)) {
    takeOut(targets);
    throw new CheckpointError(
      `merging "${adapter.name}" changes what ${worst.module} computes by ${worst.error.toExponential(1)} of its largest ` +
        'value; it was taken back, run it beside the weights',
    );
  }
  const held = new Held();
  return {
    name: adapter.name,
    params: mergedView(params, adapter, held),
    async undo() {
      held.dispose();
      takeOut(targets);
      const { module, error } = await worstOf(targets, before);
      if (error <= ALLOWED) return error;
      throw new CheckpointError(
        `unmerging "${adapter.name}" gave ${module} back with an error of ${error.toExponential(1)} of its largest value: ` +
          'the adapter is so large that the weights lost their digits; load the model again',
      );
    },
    dispose: () => held.dispose(),
  };
}

/** The maps that change, judged before the first does. */
async function judged(params: unknown, adapter: Adapter): Promise<readonly Target[]> {
  const targets = residentLinears(params).flatMap((linear) => {
    const term = adapter.terms.get(linear.name);
    return term ? [{ linear, term }] : [];
  });
  if (targets.some(({ term }) => term.activation !== 'none')) {
    throw new InputError(
      `adapter "${adapter.name}" has a ReLU between its matrices and cannot be merged into one matrix`,
    );
  }
  const onMaps = [...adapter.terms.keys()].filter((module) => module !== TOKEN_TABLE);
  if (targets.length < onMaps.length || targets.some(({ linear }) => !linear.weight.update)) {
    throw new InputError(
      `adapter "${adapter.name}" can be merged only into float32 weights: 16-bit or quantised ones would round it away, and streamed ` +
        'ones are read again; load with residence: "float32"',
    );
  }
  for (const { linear, term } of targets) {
    const [size] = await read(tf.tidy(() => tf.sum(tf.abs(joined(linear.weight.dense(), term)))));
    if (!Number.isFinite(size)) {
      throw new CheckpointError(
        `merging "${adapter.name}" would leave numbers that are no numbers in ${linear.name}; the adapter is damaged, or much ` +
          'too large',
      );
    }
    if (!term.dora) continue;
    const [least] = await read(tf.tidy(() => tf.min(tf.abs(stretch(term) as tf.Tensor1D))));
    if (least > ALLOWED) continue;
    throw new InputError(
      `adapter "${adapter.name}" multiplies a column of ${linear.name} by ${least.toExponential(1)}, which no unmerging ` +
        'could undo; run it beside the weights',
    );
  }
  return targets;
}

/** What a term multiplies W's columns by: 1 + weight · (m/n − 1), from y + weight · ((m/n − 1) y + m/n · δ).   → [out] */
const stretch = ({ dora }: LoraTerm): tf.Tensor | null =>
  dora ? tf.add(1, tf.mul(tf.sub(gain(dora), 1), dora.weight)) : null;

const gain = ({ magnitude, norm }: NonNullable<LoraTerm['dora']>): tf.Tensor =>
  tf.div(magnitude, norm as tf.Tensor1D);

/** How much of a change δ arrives: all of it, or weight · m/n. */
const arriving = (delta: tf.Tensor, { dora }: LoraTerm): tf.Tensor =>
  dora ? tf.mul(delta, tf.mul(gain(dora), dora.weight)) : delta;

const change = (term: LoraTerm): tf.Tensor =>
  arriving(tf.mul(tf.matMul(term.a.dense(), term.b.dense()), term.scale), term);

/** W [in, out] with the term in it. */
function joined(dense: tf.Tensor2D, term: LoraTerm): tf.Tensor2D {
  const columns = stretch(term);
  return tf.add(columns ? tf.mul(dense, columns) : dense, change(term));
}

/** The inverse of `joined`. */
function without(dense: tf.Tensor2D, term: LoraTerm): tf.Tensor2D {
  const columns = stretch(term);
  const base: tf.Tensor2D = tf.sub(dense, change(term));
  return columns ? tf.div(base, columns) : base;
}

/** The tree with the new biases, which `held` keeps, and with the parts that the adapter replaces. */
function mergedView<T>(params: T, adapter: Adapter, held: Held): T {
  const onTable = [...adapter.terms].filter(([module]) => module === TOKEN_TABLE);
  const exchanged = withAdapters(params, { ...adapter, terms: new Map(onTable) });
  const biases = new Map<string, tf.Tensor1D>();
  for (const { name, bias } of residentLinears(exchanged)) {
    const term = adapter.terms.get(name);
    const { bBias } = term ?? {};
    if (!term || !bBias) continue;
    const added = tf.tidy(() => {
      const own = arriving(tf.mul(bBias, term.scale), term) as tf.Tensor1D;
      return bias ? tf.add(bias, own) : tf.clone(own);
    });
    biases.set(name, held.keep(added) as tf.Tensor1D);
  }
  return mapLinears(exchanged, (l) => ({ ...l, bias: biases.get(l.name) ?? l.bias }));
}

/** x W (and the term's change) for one row x of random signs, the same for every map of a size.   → [out] */
async function probe(weight: Matrix, term?: LoraTerm): Promise<Float32Array> {
  return read(
    tf.tidy(() => {
      const x = tf.tensor2d(signs(weight.inSize), [1, weight.inSize]);
      return linearOp({ x, weight, bias: null, lora: term ? [term] : [] });
    }),
  );
}

async function read(tensor: tf.Tensor): Promise<Float32Array> {
  try {
    return (await tensor.data()) as Float32Array;
  } finally {
    tensor.dispose();
  }
}

function signs(count: number): Float32Array {
  let state = 1;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0; // Numerical Recipes' generator; the high bit is its best
    return state >>> 31 ? 1 : -1;
  });
}

/** Where the maps as they are now differ most from what they gave. */
async function worstOf(
  targets: readonly Target[],
  expected: ReadonlyMap<Target, Float32Array>,
): Promise<{ module: string; error: number }> {
  let worst = { module: '', error: 0 };
  for (const target of targets) {
    const wanted = expected.get(target) as Float32Array;
    const found = await probe(target.linear.weight);
    const largest = wanted.reduce((most, v) => Math.max(most, Math.abs(v)), 0);
    const off = found.reduce((most, v, o) => Math.max(most, Math.abs(v - wanted[o])), 0) / (largest || 1);
    if (!(off <= worst.error)) worst = { module: target.linear.name, error: off }; // NaN is worst
    if (Number.isNaN(off)) break;
  }
  return worst;
}
