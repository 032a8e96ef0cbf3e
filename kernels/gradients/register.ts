import * as tf from '@tensorflow/tfjs-core';
import { elementwiseGradients } from './elementwise.ts';
import { productGradients } from './products.ts';
import { shapeGradients } from './shape.ts';

/**
 * Gives the tape the gradients of every stock op that the model and the losses are made of. Idempotent.
 * TF.js keeps its own behind a path that plain Node cannot import, and leaves them without kernels on WebAssembly
 * (UnsortedSegmentSum, for the rows of a table); these run on all backends.
 */
export function registerGradients(): void {
  for (const gradient of [...elementwiseGradients, ...shapeGradients, ...productGradients]) {
    tf.registerGradient(gradient as unknown as tf.GradConfig);
  }
}
