import * as tf from '@tensorflow/tfjs-core';
import { withGradient } from './gradients/with-gradient.ts';

/** A body computes an op on one backend: same inputs, same attributes, same result as the composed truth. */
export type Body<I, A> = (inputs: I, attrs: A) => tf.Tensor;

const bodies = new Map<string, unknown>();
const composedOnly = { depth: 0 };

/** An op's gradient by hand: quicker than going back through its composed truth, which it must equal. */
export type Backward<I, A> = {
  /** What may carry a gradient or is needed for one. `null`: this case goes back through the truth. */
  readonly tensors: (inputs: I, attrs: A) => readonly tf.Tensor[] | null;
  /** `saved`: the tensors again. → one lazy gradient for each */
  readonly back: (
    dy: tf.Tensor,
    saved: readonly tf.Tensor[],
    inputs: I,
    attrs: A,
  ) => readonly (() => tf.Tensor)[];
};

/**
 * Declares an op by its composed truth in stock TF.js ops: correct on every backend and differentiable.
 * The returned function runs the body registered for the current backend, if there is one, and the truth otherwise.
 * While a gradient is taken (fused bodies are opaque to the tape) it runs the truth, or body and `backward` as one node.
 */
export function defineKernel<I, A>(
  name: string,
  composed: Body<I, A>,
  backward?: Backward<I, A>,
): Body<I, A> {
  const plain: Body<I, A> = (inputs, attrs) => {
    const body = bodies.get(`${name}/${tf.getBackend()}`) as Body<I, A> | undefined;
    const run = body && composedOnly.depth === 0 ? body : composed;
    return observed(name, inputs, attrs, () => tf.tidy(name, () => run(inputs, attrs)));
  };
  return (inputs, attrs) => {
    if (!tapeIsOn()) return plain(inputs, attrs);
    const tensors = composedOnly.depth === 0 ? backward?.tensors(inputs, attrs) : null;
    if (!backward || !tensors) {
      return observed(name, inputs, attrs, () => tf.tidy(name, () => composed(inputs, attrs)));
    }
    return withGradient(
      tensors,
      () => plain(inputs, attrs),
      (dy, saved) => backward.back(dy, saved, inputs, attrs),
    );
  };
}

/** A call of an op that is about to run. */
export type OpCall = { readonly name: string; readonly inputs: unknown; readonly attrs: unknown };

/** Stands around every op: runs `compute` and returns what it gave. */
export type OpObserver = (call: OpCall, compute: () => tf.Tensor) => tf.Tensor;

let observer: OpObserver | null = null;

/** Has every op looked at, as a profile does; null ends it. */
export function observeOps(next: OpObserver | null): void {
  observer = next;
}

function observed<I, A>(name: string, inputs: I, attrs: A, compute: () => tf.Tensor): tf.Tensor {
  return observer ? observer({ name, inputs, attrs }, compute) : compute();
}

/** Adds (or replaces) the body of an op on one backend. */
export function registerBody<I, A>(name: string, backend: string, body: Body<I, A>): void {
  bodies.set(`${name}/${backend}`, body);
}

const fusions = new Map<string, unknown>();
const apart = { depth: 0 };

/** Says which cases of a group of ops a backend has bodies for that are worth another way of calling them. */
export function registerFusion<I>(name: string, backend: string, fits: (inputs: I) => boolean): void {
  fusions.set(`${name}/${backend}`, fits);
}

/** Whether a layer should call that group: the backend has it, it fits, and no gradient is taken, which would undo it. */
export function runsFused<I>(name: string, inputs: I): boolean {
  if (composedOnly.depth > 0 || apart.depth > 0 || tapeIsOn()) return false;
  const fits = fusions.get(`${name}/${tf.getBackend()}`) as ((inputs: I) => boolean) | undefined;
  return fits?.(inputs) ?? false;
}

/** Runs `f` with every op of such a group called by itself: for who looks at each (`observeOps`). */
export function unfused<T>(f: () => T): T {
  apart.depth++;
  try {
    return f();
  } finally {
    apart.depth--;
  }
}

/** Names of the ops that have a body of their own on this backend. */
export const bodiesOn = (backend: string): readonly string[] =>
  [...bodies.keys()].filter((k) => k.endsWith(`/${backend}`)).map((k) => k.slice(0, k.lastIndexOf('/')));

/** Runs `f` with every op composed: the slow truth that tests and benches compare with. */
export function composed<T>(f: () => T): T {
  composedOnly.depth++;
  try {
    return f();
  } finally {
    composedOnly.depth--;
  }
}

// The engine records for gradients while its gradient depth is above zero and no kernel is at work (tfjs-core: engine.ts).
export function tapeIsOn(): boolean {
  const { state } = tf.engine() as unknown as { state: { gradientDepth: number; kernelDepth: number } };
  return state.gradientDepth > 0 && state.kernelDepth === 0;
}
