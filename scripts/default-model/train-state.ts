import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import type { AdamW } from '../../src/train/adamw.ts';
import { memorySource } from '../../weights/memory-source.ts';
import { readFloat32, readHeader } from '../../weights/safetensors.ts';
import { encodeSafetensors } from '../../weights/safetensors-writer.ts';

/** What a run goes on from: variables and AdamW's moments, with the number of updates in the metadata. */
export async function saveState(
  path: string,
  variables: ReadonlyMap<string, tf.Variable>,
  { moments, updates }: AdamW,
  metadata: Readonly<Record<string, string>>,
): Promise<void> {
  const tensors = [];
  for (const [name, v] of variables) {
    const { mean, square } = moments.get(name)!;
    for (const [part, t] of Object.entries({ value: v, mean, square })) {
      tensors.push({ name: `${part}:${name}`, dtype: 'F32', shape: t.shape, data: await t.data() } as const);
    }
  }
  await mkdir(dirname(path), { recursive: true });
  await writeFile(`${path}.tmp`, encodeSafetensors(tensors, { ...metadata, updates: String(updates) }));
  await rename(`${path}.tmp`, path); // a kill leaves the old state or the new one
}

/** Puts a saved state into the variables and the optimizer. → its metadata, or `null` when there is no such file */
export async function restoreState(
  path: string,
  variables: ReadonlyMap<string, tf.Variable>,
  optimizer: AdamW,
): Promise<Readonly<Record<string, string>> | null> {
  const bytes = await readFile(path).catch(() => null);
  if (!bytes) return null;
  const source = memorySource(path, bytes);
  const header = await readHeader(source);
  for (const [name, v] of variables) {
    const { mean, square } = optimizer.moments.get(name)!;
    for (const [part, target] of Object.entries({ value: v, mean, square })) {
      const entry = header.tensors.get(`${part}:${name}`);
      if (!entry)
        throw new Error(`${path}: no tensor ${part}:${name}; the state is of another model, remove it`);
      const values = await readFloat32(entry);
      tf.tidy(() => target.assign(tf.tensor(values, target.shape)));
    }
  }
  optimizer.updates = Number(header.metadata.updates);
  return header.metadata;
}
