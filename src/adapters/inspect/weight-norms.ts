import * as tf from '@tensorflow/tfjs-core';
import { eachLinear } from '../each-linear.ts';

/** ‖W‖_F of the named linear maps. */
export async function weightNorms(
  params: unknown,
  names: ReadonlySet<string>,
  signal?: AbortSignal,
): Promise<ReadonlyMap<string, number>> {
  const norms = new Map<string, number>();
  const measure = async (name: string, norm: tf.Tensor) => {
    try {
      norms.set(name, (await norm.data())[0]);
    } finally {
      norm.dispose();
    }
  };
  await eachLinear(
    params,
    names,
    ({ name, weight }) =>
      measure(
        name,
        tf.tidy(() => tf.norm(weight.dense())),
      ),
    signal,
  );
  return norms;
}
