import * as tf from '@tensorflow/tfjs-core';
import type { EmbeddingTable, LoraTerm } from '../../kernels/index.ts';
import { TOKEN_TABLE } from '../../weights/names.ts';
import { InputError } from '../errors.ts';
import { Held } from '../held.ts';
import type { Linear } from '../layers/linear.ts';
import { tokenTable } from '../params.ts';
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
    const term = terms.get(TOKEN_TABLE);
    const table = adapter.table ?? tokenTable(params);
    if (term?.dora && missing.has(TOKEN_TABLE) && table) {
      const norm = held.keep(await tableLengths(table, term, signal));
      terms.set(TOKEN_TABLE, { ...term, dora: { ...term.dora, norm } });
    }
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
export const columnLengths = ({ weight }: Linear, { a, b, scale }: LoraTerm): tf.Tensor1D =>
  tf.tidy(() => {
    const whole = tf.add(weight.dense(), tf.mul(tf.matMul(a.dense(), b.dense()), scale)); // [in, out]
    return tf.sqrt(tf.sum(tf.square(whole), 0)) as tf.Tensor1D;
  });

const ROWS_AT_ONCE = 4096;

/** The same for a table, whose rows are looked up part by part.   E [V, D] → [D] */
async function tableLengths(
  table: EmbeddingTable,
  { a, b, scale }: LoraTerm,
  signal?: AbortSignal,
): Promise<tf.Tensor1D> {
  let squares: tf.Tensor1D = tf.zeros([table.width]);
  for (let begin = 0; begin < table.rows; begin += ROWS_AT_ONCE) {
    const count = Math.min(ROWS_AT_ONCE, table.rows - begin);
    const ids = Int32Array.from({ length: count }, (_, i) => begin + i);
    const rows = await table.gather(ids, signal);
    const more: tf.Tensor1D = tf.tidy(() => {
      const low = tf.slice(a.dense(), [begin, 0], [count, a.outSize]);
      const whole = tf.add(rows, tf.mul(tf.matMul(low, b.dense()), scale));
      return tf.add(squares, tf.sum(tf.square(whole), 0));
    });
    tf.dispose([rows, squares]);
    squares = more;
  }
  try {
    return tf.sqrt(squares);
  } finally {
    squares.dispose();
  }
}
