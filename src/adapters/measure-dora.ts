import * as tf from '@tensorflow/tfjs-core';
import type { LoraTerm } from '../../kernels/index.ts';
import { InputError } from '../errors.ts';
import { Held } from '../held.ts';
import type { Linear } from '../layers/linear.ts';
import { eachLinear } from './each-linear.ts';
import type { Adapter } from './with-adapters.ts';

/** The maps whose lengths a DoRA still lacks. */
export const unmeasured = ({ terms }: Adapter): ReadonlySet<string> =>
  new Set([...terms].flatMap(([module, { dora }]) => (dora && dora.norm === null ? [module] : [])));

/** @throws InputError for a DoRA whose maps have not been measured */
export function checkMeasured(adapter: Adapter): void {
  const [module] = unmeasured(adapter);
  if (module === undefined) return;
  throw new InputError(
    `"${adapter.name}" is a DoRA that does not know the weights of ${module} yet; put it on with await model.placeAdapter(…)`,
  );
}

/** An adapter with its lengths. `forget` frees these alone, where it cannot be used after all. */
export type Measured = { readonly adapter: Adapter; forget(): void };

/**
 * The adapter with the lengths that its DoRA terms divide by, measured on the frozen weights: once, where PEFT does it in
 * every pass. It shares the tensors of the given one, and disposing it disposes both; one without DoRA comes back as it is.
 */
export async function measureDora(
  adapter: Adapter,
  params: unknown,
  signal?: AbortSignal,
): Promise<Measured> {
  const missing = unmeasured(adapter);
  if (missing.size === 0) return { adapter, forget: () => {} };
  const terms = new Map(adapter.terms);
  const held = new Held();
  const measure = (linear: Linear) => {
    const term = terms.get(linear.name);
    if (term?.dora)
      terms.set(linear.name, {
        ...term,
        dora: { ...term.dora, norm: held.keep(columnLengths(linear, term)) },
      });
  };
  try {
    await eachLinear(params, missing, measure, signal);
  } catch (error) {
    held.dispose();
    throw error;
  }
  const dispose = () => {
    held.dispose();
    adapter.dispose();
  };
  return { adapter: { ...adapter, terms, dispose }, forget: () => held.dispose() };
}

/** ‖W + scale · A B‖ by columns.   → [out]   (peft: tuners/lora/dora.py, get_weight_norm) */
const columnLengths = ({ weight }: Linear, { a, b, scale }: LoraTerm): tf.Tensor1D =>
  tf.tidy(() => {
    const whole = tf.add(weight.dense(), tf.mul(tf.matMul(a.dense(), b.dense()), scale)); // [in, out]
    return tf.sqrt(tf.sum(tf.square(whole), 0)) as tf.Tensor1D;
  });
