import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import * as tf from '@tensorflow/tfjs-core';
import { float32Matrix } from '../../kernels/index.ts';
import type { Adapter } from '../../src/adapters/with-adapters.ts';
import { Held } from '../../src/held.ts';
import { type Linear, linear } from '../../src/layers/linear.ts';
import { loadAdapter } from '../../src/load-adapter.ts';
import { openFolder } from '../../src/platform/node-files.ts';
import { listAdapterFiles } from '../../weights/adapter-files.ts';
import { memorySource } from '../../weights/memory-source.ts';
import { readFloat32, readHeader } from '../../weights/safetensors.ts';
import { MAPS, MAPS_SPEC } from './saved-adapters.ts';

export type Golden = {
  has(key: string): boolean;
  get(key: string): Promise<Float32Array>;
};

/** The values of a golden file beside this one. */
export async function goldenFile(name: string): Promise<Golden> {
  const { tensors } = await readHeader(memorySource(name, readFileSync(new URL(name, import.meta.url))));
  return {
    has: (key) => tensors.has(key),
    get: async (key) => {
      const entry = tensors.get(key);
      if (!entry) throw new Error(`no golden value "${key}" in ${name}`);
      return readFloat32(entry);
    },
  };
}

/** The random maps of base_maps.py, by name: a tree of parameters. */
export type Base = { readonly params: Readonly<Record<string, Linear>>; dispose(): void };

export async function baseMaps(golden: Golden): Promise<Base> {
  const held = new Held();
  const params: Record<string, Linear> = {};
  for (const { name, inSize, outSize } of MAPS) {
    const rows = await golden.get(`weight/${name}`); // [out, in]
    const turned = Float32Array.from(rows, (_, i) => rows[(i % outSize) * inSize + Math.floor(i / outSize)]);
    const weight = held.keep(float32Matrix(tf.tensor2d(turned, [inSize, outSize])));
    const bias = golden.has(`bias/${name}`) ? held.keep(tf.tensor1d(await golden.get(`bias/${name}`))) : null;
    params[name] = { name, weight, bias, lora: [] };
  }
  return { params, dispose: () => held.dispose() };
}

/** The adapter of a folder beside this file. */
export async function adapterIn(folder: string): Promise<Adapter> {
  const tree = await openFolder(fileURLToPath(new URL(folder, import.meta.url)));
  try {
    const [file] = await listAdapterFiles(tree);
    return await loadAdapter(file, MAPS_SPEC, { residence: 'float32' });
  } finally {
    await tree.close();
  }
}

/** What a map makes of the golden input.   → [5, out] */
export async function outputOf(map: Linear, golden: Golden): Promise<Float32Array> {
  const x = tf.tensor2d(await golden.get(`x/${map.name}`), [5, map.weight.inSize]);
  const y = linear(map, x);
  try {
    return (await y.data()) as Float32Array;
  } finally {
    x.dispose();
    y.dispose();
  }
}
