import type * as tf from '@tensorflow/tfjs-core';
import type { Side } from './side.ts';

/** Sides of a batch (queries, documents, …) → a scalar, in ops that the tape knows. Called inside a tidy. */
export type Loss = {
  readonly name: string;
  /** Whether the sides must carry multi-vectors. */
  readonly multi: boolean;
  readonly compute: (sides: readonly Side[]) => tf.Scalar;
};
