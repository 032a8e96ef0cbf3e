import { tensorflowLinear } from './linear/linear.tensorflow.ts';
import { registerMatrixStore } from './linear/matrix-store.ts';
import { tensorflowStore } from './linear/tensorflow-store.ts';
import { registerBody } from './registry.ts';

/** Gives the native TensorFlow backend its own bodies and its own store of matrices. Idempotent. */
export function registerTensorflowBodies(): void {
  registerMatrixStore('tensorflow', tensorflowStore);
  registerBody('Linear', 'tensorflow', tensorflowLinear);
}
