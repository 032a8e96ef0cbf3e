import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { memorySource } from '../../weights/memory-source.ts';
import { readHeader, readTensor } from '../../weights/safetensors.ts';

/** The tiny checkpoint in the published layout, with reference values for every stage (test/golden/README.md). */
export const GOLDEN = fileURLToPath(new URL('../golden/', import.meta.url));

export type GoldenTensor = { readonly shape: readonly number[]; readonly values: Float32Array | Int32Array };

const bytes = readFileSync(`${GOLDEN}golden.safetensors`);
const { tensors } = await readHeader(memorySource('golden.safetensors', bytes));

export const goldenNames: readonly string[] = [...tensors.keys()];

/** A reference tensor by its key, `case/what`. */
export async function golden(key: string): Promise<GoldenTensor> {
  const entry = tensors.get(key);
  if (!entry) throw new Error(`no golden value "${key}"`);
  const raw = new Uint8Array(await readTensor(entry)); // a copy: aligned, and never a pooled Buffer
  const values = entry.dtype === 'I32' ? new Int32Array(raw.buffer) : new Float32Array(raw.buffer);
  return { shape: entry.shape, values };
}

export type GoldenIndex = {
  readonly texts: readonly string[];
  readonly images: readonly string[];
  readonly cases: Readonly<
    Record<string, { readonly stages?: boolean; readonly prefix?: string; readonly tokens?: number }>
  >;
};

export const goldenIndex: GoldenIndex = JSON.parse(readFileSync(`${GOLDEN}golden.json`, 'utf8'));
