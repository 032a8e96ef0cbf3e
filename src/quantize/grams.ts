import * as tf from '@tensorflow/tfjs-core';
import { type LinearInputs, type Matrix, observeOps, unfused } from '../../kernels/index.ts';

type Gram = { sum: tf.Tensor2D };

/** XᵀX of what chosen linear maps read, summed over all that runs inside `watch`. Maps that read the same rows share one. */
export class Grams {
  readonly #of = new Map<Matrix, Gram>();

  /** Runs `step`, and looks at what it gives to the maps with these weights. */
  watch<T>(weights: ReadonlySet<Matrix>, step: () => T): T {
    let latest: { readonly x: tf.Tensor2D; readonly gram: Gram } | null = null;
    observeOps(({ name, inputs }, compute) => {
      if (name === 'Linear') {
        const { x, weight } = inputs as LinearInputs;
        if (weights.has(weight)) {
          const gram = latest?.x === x ? latest.gram : this.#add(weight, x);
          this.#of.set(weight, gram);
          latest = { x, gram };
        }
      }
      return compute();
    });
    try {
      return unfused(step); // a group of maps in one would not be seen
    } finally {
      observeOps(null);
    }
  }

  /** [in, in]; null for a map that was given nothing. */
  of(weight: Matrix): tf.Tensor2D | null {
    return this.#of.get(weight)?.sum ?? null;
  }

  dispose(): void {
    for (const { sum } of new Set(this.#of.values())) sum.dispose();
    this.#of.clear();
  }

  #add(weight: Matrix, x: tf.Tensor2D): Gram {
    const known = this.#of.get(weight);
    const sum = tf.keep(
      tf.tidy(() => {
        const products: tf.Tensor2D = tf.matMul(x, x, true);
        return known ? tf.add<tf.Tensor2D>(known.sum, products) : products;
      }),
    );
    known?.sum.dispose();
    if (!known) return { sum };
    known.sum = sum;
    return known;
  }
}
