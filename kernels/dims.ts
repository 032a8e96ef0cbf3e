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
  const names = namesOf(axes);
  const { shape } = x;
  const sizes: Record<string, number> = {};
  let fits = names.length === shape.length;
  for (let i = 0; i < names.length; i++) {
    const size = known[names[i]];
    if (size !== undefined && size !== shape[i]) fits = false;
    sizes[names[i]] = shape[i];
  }
  if (!fits) {
    throw new InputError(`expected [${axes}] with ${JSON.stringify(known)}, got [${shape.join(', ')}]`);
  }
  return sizes;
}

// Every op asks at every call, always for the same few: a GPU waits for the host meanwhile.
const split = new Map<string, readonly string[]>();

function namesOf(axes: string): readonly string[] {
  let names = split.get(axes);
  if (!names) {
    names = axes.split(' ');
    split.set(axes, names);
  }
  return names;
}
