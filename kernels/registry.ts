import * as tf from '@tensorflow/tfjs-core';

/** A body computes an op on one backend: same inputs, same attributes, same result as the composed truth. */
export type Body<I, A> = (inputs: I, attrs: A) => tf.Tensor;

const bodies = new Map<string, unknown>();
const composedOnly = { depth: 0 };

/**
 * Declares an op by its composed truth in stock TF.js ops: correct on every backend and differentiable.
 * The returned function runs the body registered for the current backend, if there is one, and the truth otherwise:
 * wherever no fused body exists, and while a gradient is taken (fused bodies are opaque to the tape).
 */
export function defineKernel<I, A>(name: string, composed: Body<I, A>): Body<I, A> {
  return (inputs, attrs) => {
    const body = bodies.get(`${name}/${tf.getBackend()}`) as Body<I, A> | undefined;
    const run = body && composedOnly.depth === 0 && !tapeIsOn() ? body : composed;
    const compute = () => tf.tidy(name, () => run(inputs, attrs));
    return observer ? observer({ name, inputs, attrs }, compute) : compute();
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

/** Adds (or replaces) the body of an op on one backend. */
export function registerBody<I, A>(name: string, backend: string, body: Body<I, A>): void {
  bodies.set(`${name}/${backend}`, body);
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

// The engine records for gradients exactly while its gradient depth is above zero (tfjs-core: engine.ts, isTapeOn).
const tapeIsOn = (): boolean =>
  (tf.engine() as unknown as { state: { gradientDepth: number } }).state.gradientDepth > 0;
