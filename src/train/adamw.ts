import * as tf from '@tensorflow/tfjs-core';

export type AdamWOptions = {
  readonly beta1?: number;
  readonly beta2?: number;
  readonly epsilon?: number;
  /** Decoupled: w ← w − rate · decay · w. On matrices only, not on biases and norms. Default 0.01. */
  readonly weightDecay?: number;
  /** Factor on the rate for a variable by name, as for an embedding table, whose rows are seldom asked for. Default 1. */
  readonly rateOf?: (name: string) => number;
};

/** Running means of the gradient and of its square, for one variable. */
export type Moments = { readonly mean: tf.Variable; readonly square: tf.Variable };

/** AdamW (Loshchilov & Hutter 2019; torch.optim.AdamW): the moments of every variable, and the count of updates. */
export class AdamW {
  readonly moments: ReadonlyMap<string, Moments>;
  updates = 0;
  readonly #variables: ReadonlyMap<string, tf.Variable>;
  readonly #options: Required<AdamWOptions>;

  constructor(variables: ReadonlyMap<string, tf.Variable>, options: AdamWOptions = {}) {
    this.#variables = variables;
    this.#options = {
      beta1: 0.9,
      beta2: 0.999,
      epsilon: 1e-8,
      weightDecay: 0.01,
      rateOf: () => 1,
      ...options,
    };
    const zeros = (v: tf.Variable) => tf.tidy(() => tf.variable(tf.zerosLike(v), false));
    this.moments = new Map([...variables].map(([name, v]) => [name, { mean: zeros(v), square: zeros(v) }]));
  }

  /** One update. `factor`: what every gradient is multiplied by (clipping). A missing gradient is 0. */
  update(gradients: ReadonlyMap<string, tf.Tensor>, rate: number, factor: number): void {
    const { beta1, beta2, epsilon, weightDecay, rateOf } = this.#options;
    this.updates++;
    const meanGain = 1 / (1 - beta1 ** this.updates);
    const squareGain = 1 / (1 - beta2 ** this.updates);
    for (const [name, variable] of this.#variables) {
      const raw = gradients.get(name);
      const own = rate * rateOf(name);
      const { mean, square } = this.moments.get(name) as Moments;
      tf.tidy(() => {
        const gradient = !raw ? tf.zerosLike(variable) : factor === 1 ? raw : tf.mul(raw, factor);
        mean.assign(tf.add(tf.mul(mean, beta1), tf.mul(gradient, 1 - beta1)));
        square.assign(tf.add(tf.mul(square, beta2), tf.mul(tf.square(gradient), 1 - beta2)));
        // m̂ / (√v̂ + ε), with both corrections folded into scalars.
        const root = tf.add(tf.sqrt(tf.mul(square, squareGain)), epsilon);
        const step = tf.div(tf.mul(mean, own * meanGain), root);
        const kept = variable.rank > 1 ? tf.mul(variable, 1 - own * weightDecay) : variable;
        variable.assign(tf.sub(kept, step));
      });
    }
  }

  dispose(): void {
    for (const { mean, square } of this.moments.values()) tf.dispose([mean, square]);
  }
}

/** √Σ‖g‖² over all gradients. → scalar */
export const globalNorm = (gradients: Iterable<tf.Tensor>): tf.Scalar =>
  tf.tidy(() => tf.sqrt(tf.sum(tf.stack([...gradients].map((g) => tf.sum(tf.square(g)))))));
