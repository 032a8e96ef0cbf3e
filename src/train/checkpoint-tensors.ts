import * as tf from '@tensorflow/tfjs-core';
import type { TensorData } from '../../weights/safetensors-writer.ts';
import { leavesOf } from '../params.ts';
import type { WeightsTrainable } from './weight-variables.ts';

/** All weights as they are now, float32, under the names and in the shapes of a checkpoint. */
export async function checkpointTensors({
  model,
  variables,
}: WeightsTrainable): Promise<readonly TensorData[]> {
  const tensors: TensorData[] = [];
  const add = async (name: string, shape: readonly number[], turned = false) => {
    const variable = variables.get(name) as tf.Variable;
    const values = tf.tidy(() => (turned ? tf.transpose(variable) : tf.clone(variable))); // [in, out] here
    try {
      tensors.push({ name, dtype: 'F32', shape: [...shape], data: await values.data() });
    } finally {
      values.dispose();
    }
  };
  for (const leaf of leavesOf(model.spec)) {
    if (leaf.leaf !== 'linear') {
      await add(leaf.name, leaf.shape);
      continue;
    }
    await add(`${leaf.name}.weight`, leaf.shape, true);
    if (leaf.bias) await add(`${leaf.name}.bias`, [leaf.outSize]);
  }
  return tensors;
}
