import type * as tf from '@tensorflow/tfjs-core';
import { InputError } from '../src/errors.ts';

// Shape letters, declared once for the whole project:
//   T tokens · S segments · D decoder width · N query heads · K key/value heads · H head size · F MLP inner size
//   V vocabulary · L layers · P patches · C vision width · M merged vision tokens · R LoRA rank · E output size

/**
 * Names the axes of `x` and checks those whose size is known.
 * `dims(x, 'T D', { D: 2048 })` returns `{ T, D }`, or throws "expected [T D] with {"D":2048}, got [12, 1280]".
 */
export function dims(
  x: tf.Tensor,
  axes: string,
  known: Readonly<Record<string, number>> = {},
): Record<string, number> {
  const names = axes.split(' ');
  const fits =
    names.length === x.rank && names.every((n, i) => known[n] === undefined || known[n] === x.shape[i]);
  if (!fits) {
    throw new InputError(`expected [${axes}] with ${JSON.stringify(known)}, got [${x.shape.join(', ')}]`);
  }
  return Object.fromEntries(names.map((n, i) => [n, x.shape[i]]));
}
