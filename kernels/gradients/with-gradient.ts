import * as tf from '@tensorflow/tfjs-core';
import type { Gradient } from './gradient.ts';

/** Lazy gradients, one for each input of the forward pass: only those that lead to a variable are called. */
export type WayBack = (dy: tf.Tensor, saved: readonly tf.Tensor[]) => readonly (() => tf.Tensor)[];

type Attrs = { readonly forward: () => tf.Tensor; readonly back: WayBack };

const KERNEL = 'WithGradient';

/**
 * One node on the tape for a whole computation. tf.customGrad would do, but it computes the gradients of all inputs, and
 * most inputs of a frozen model's layers need none.
 */
export function withGradient(
  inputs: readonly tf.Tensor[],
  forward: () => tf.Tensor,
  back: WayBack,
): tf.Tensor {
  // Not only by `registerGradients`: a stock optimizer brings TF.js's own gradients, and knows nothing of this node.
  if (!tf.getGradient(KERNEL)) tf.registerGradient(wayBackGradient as unknown as tf.GradConfig);
  const backendName = tf.getBackend();
  if (!tf.getKernel(KERNEL, backendName)) {
    tf.registerKernel({
      kernelName: KERNEL,
      backendName,
      kernelFunc: ({ attrs }) => (attrs as unknown as Attrs).forward(),
    });
  }
  const attrs: Attrs = { forward, back };
  return tf
    .engine()
    .runKernel(
      KERNEL,
      inputs as unknown as tf.NamedTensorMap,
      attrs as unknown as tf.NamedAttrMap,
    ) as tf.Tensor;
}

const wayBackGradient: Gradient = {
  kernelName: KERNEL,
  saveAllInputs: true,
  gradFunc: (dy, saved, attrs) => Object.fromEntries((attrs as unknown as Attrs).back(dy, saved).entries()),
};
