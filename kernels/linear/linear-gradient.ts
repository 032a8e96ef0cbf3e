import * as tf from '@tensorflow/tfjs-core';
import { product } from '../product/product.ts';
import type { Backward } from '../registry.ts';
import type { LinearInputs, LoraTerm } from './linear.ts';

// y = x W + b + Σ s · act(x A) B
// dx = dy Wᵀ + Σ low' Aᵀ    dW = xᵀ dy    db = Σ rows of dy    dA = xᵀ low'    dB = s · act(x A)ᵀ dy
// with low' = s · dy Bᵀ, where x A > 0 if act is ReLU.

type Two = tf.Tensor2D;

/** Whether a term is one of the formula above; whatever else a term may come to hold goes back through the truth. */
const isKnown = ({ a, b, scale, activation, ...more }: LoraTerm): boolean =>
  Object.values(more).every((m) => m === undefined || m === null);

/** dy → low' [T, R] */
function lowGradient(dy: Two, low: Two | null, b: Two, { scale, activation }: LoraTerm): Two {
  const back = product(dy, b, { turnB: true });
  const scaled: Two = scale === 1 ? back : tf.mul(back, scale);
  return activation === 'relu' ? tf.mul(scaled, tf.cast(tf.greater(low as Two, 0), 'float32')) : scaled;
}

export const linearBackward: Backward<LinearInputs, Record<string, never>> = {
  // A packed matrix is frozen, and widened anew on the way back rather than kept.
  tensors: ({ x, weight, bias, lora }) => {
    if (!lora.every(isKnown)) return null;
    const matrices = lora.flatMap(({ a, b }) => [a.dense(), b.dense()]);
    return [
      x,
      ...matrices,
      ...(bias ? [bias] : []),
      ...(weight.storage === 'float32' ? [weight.dense()] : []),
    ];
  },
  back: (gradient, saved, { weight, bias, lora }) => {
    const dy = gradient as Two;
    const x = saved[0] as Two;
    const pair = (i: number) => [saved[1 + 2 * i], saved[2 + 2 * i]] as [Two, Two];
    const dense = () => (weight.storage === 'float32' ? (saved[saved.length - 1] as Two) : weight.dense());
    const dx = () =>
      tf.tidy(() =>
        lora.reduce(
          (sum, term, i) => {
            const [a, b] = pair(i);
            const low = term.activation === 'relu' ? product(x, a) : null;
            return tf.add(sum, product(lowGradient(dy, low, b, term), a, { turnB: true }));
          },
          product(dy, dense(), { turnB: true }),
        ),
      );
    const ofTerms = lora.flatMap((term, i) => {
      const [a, b] = pair(i);
      const dA = () =>
        tf.tidy(() => {
          const low = term.activation === 'relu' ? product(x, a) : null;
          return product(x, lowGradient(dy, low, b, term), { turnA: true });
        });
      const dB = () =>
        tf.tidy(() => {
          const low = product(x, a);
          const mid: Two = term.activation === 'relu' ? tf.relu(low) : low;
          const back = product(mid, dy, { turnA: true });
          return term.scale === 1 ? back : tf.mul(back, term.scale);
        });
      return [dA, dB];
    });
    const rest = [
      ...(bias ? [() => tf.sum(dy, 0)] : []),
      ...(weight.storage === 'float32' ? [() => product(x, dy, { turnA: true })] : []),
    ];
    return [dx, ...ofTerms, ...rest];
  },
};
