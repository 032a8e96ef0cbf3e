import type * as tf from '@tensorflow/tfjs-core';

/**
 * The one hook into a run: called with every stage's name and value, in order. Goldens, the stage bench and inspection
 * use it. The tensor belongs to the model: clone or read it before returning.
 */
export type Observe = (stage: string, value: tf.Tensor2D) => void;
