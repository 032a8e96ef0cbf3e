import * as tf from '@tensorflow/tfjs-core';
import { memorySource } from '../../weights/memory-source.ts';
import { readHeader, readTensor } from '../../weights/safetensors.ts';
import { encodeSafetensors, type TensorData } from '../../weights/safetensors-writer.ts';
import { CheckpointError } from '../errors.ts';
import type { AdamW, Moments } from './adamw.ts';
import type { Trainable } from './variables.ts';

// A run between two updates, as one safetensors file: float32 `weights/…`, `mean/…` and `square/…` of every variable, and
// what is not a tensor as JSON in the metadata. A run that goes on from it makes the same updates to the bit.

const FORMAT = 'jina-embeddings training run, version 1';

/** What a run is made of, as far as it changes. */
export type Run = { readonly trainable: Trainable; readonly optimizer: AdamW };

/** `extra`: whatever else the run needs to go on, such as its sampler's state. */
export async function encodeRun(
  { trainable, optimizer }: Run,
  extra: Readonly<Record<string, unknown>> = {},
): Promise<Uint8Array> {
  const tensors: TensorData[] = [];
  for (const [name, variable] of trainable.variables) {
    const { mean, square } = optimizer.moments.get(name) as Moments;
    for (const [kind, tensor] of Object.entries({ weights: variable, mean, square })) {
      const data = await tensor.data();
      tensors.push({ name: `${kind}/${name}`, dtype: 'F32', shape: tensor.shape, data });
    }
  }
  return encodeSafetensors(tensors, {
    format: FORMAT,
    updates: String(optimizer.updates),
    extra: JSON.stringify(extra),
  });
}

/**
 * Puts a run back to where it was saved. → what was saved beside it
 * @throws CheckpointError where the file is none of a run, or of one that trains other tensors; nothing is changed then
 */
export async function restoreRun(
  { trainable, optimizer }: Run,
  file: Uint8Array,
): Promise<Record<string, unknown>> {
  const { tensors, metadata } = await readHeader(memorySource('training state', file));
  if (metadata.format !== FORMAT) {
    throw new CheckpointError(
      `this file is not the state of a ${FORMAT}: it says "${metadata.format ?? 'nothing'}"`,
    );
  }
  const targets = [...trainable.variables].flatMap(([name, variable]) => {
    const { mean, square } = optimizer.moments.get(name) as Moments;
    return Object.entries({ weights: variable, mean, square }).map(
      ([kind, target]) => [`${kind}/${name}`, target] as const,
    );
  });
  const misfit = targets.filter(([name, t]) => tensors.get(name)?.shape.join() !== t.shape.join());
  if (misfit.length > 0 || tensors.size !== targets.length) {
    throw new CheckpointError(
      `the saved run trains ${tensors.size / 3} tensors, this one ${targets.length / 3}, of which ${misfit.length / 3} do not ` +
        `fit${misfit.length ? ` (the first is ${misfit[0][0]})` : ''}; go on with the model, rank and targets it began with`,
    );
  }
  const values = new Map<string, Float32Array>();
  for (const [name, entry] of tensors) {
    values.set(name, new Float32Array(new Uint8Array(await readTensor(entry)).buffer));
  }
  for (const [name, target] of targets) {
    tf.tidy(() => target.assign(tf.tensor(values.get(name) as Float32Array, target.shape)));
  }
  trainable.changed?.();
  optimizer.updates = Number(metadata.updates);
  return JSON.parse(metadata.extra ?? '{}') as Record<string, unknown>;
}
