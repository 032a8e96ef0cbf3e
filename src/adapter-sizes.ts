import type { AdapterFile } from '../weights/adapter-files.ts';
import { elementCount } from '../weights/dtypes.ts';
import { TOKEN_TABLE } from '../weights/names.ts';
import type { TensorEntry } from '../weights/safetensors.ts';
import { loraParameterCount, type ModelSpec } from './params.ts';

/** What adapters hold in memory, in values. Known from the headers of their files. */
export type AdapterSizes = {
  /** The largest rank. */
  readonly rank: number;
  /** Values of 16-bit matrices: they stay as they are beside weights that do, and become float32 beside float32 weights. */
  readonly halves: number;
  /** Values that are float32 in any case: vectors (biases, magnitudes and the lengths they divide by), wider matrices. */
  readonly floats: number;
  /** Bytes of token tables, which lie in host memory as in the file. */
  readonly tables: number;
};

export const NO_ADAPTERS: AdapterSizes = { rank: 0, halves: 0, floats: 0, tables: 0 };

/** So many 16-bit LoRAs of one rank on the maps of the published ones, before there is a file. */
export const loraSizes = (spec: ModelSpec, count: number, rank: number): AdapterSizes =>
  count === 0 ? NO_ADAPTERS : { rank, halves: count * loraParameterCount(spec, rank), floats: 0, tables: 0 };

/** What these files become in memory (src/load-adapter.ts): A and B, DoRA, biases, and whole parts (`modules_to_save`). */
export function adapterSizes(files: readonly AdapterFile[]): AdapterSizes {
  let { rank, halves, floats, tables } = NO_ADAPTERS;
  const matrix = ({ dtype, shape }: TensorEntry) => {
    if (dtype === 'BF16' || dtype === 'F16') halves += elementCount(shape);
    else floats += elementCount(shape);
  };
  const vector = (entry: TensorEntry | undefined, times = 1) => {
    if (entry) floats += times * elementCount(entry.shape);
  };
  for (const { modules, saved } of files) {
    for (const { a, b, bBias, magnitude, table } of modules.values()) {
      rank = Math.max(rank, a.shape[0]);
      if (table)
        vector(a); // looked up, so it is a plain tensor
      else matrix(a);
      matrix(b);
      vector(bBias);
      vector(magnitude, 2); // and the length of each column
    }
    for (const [module, { weight, bias }] of saved) {
      if (module === TOKEN_TABLE && weight) tables += weight.byteLength;
      else if (weight && weight.shape.length > 1) matrix(weight);
      else vector(weight); // a norm
      vector(bias);
    }
  }
  return { rank, halves, floats, tables };
}

/** Bytes of tensors that they take beside weights of a residence or precision. */
export const adapterBytes = ({ halves, floats }: AdapterSizes, besides: 'float32' | 'narrow'): number =>
  4 * floats + (besides === 'float32' ? 4 : 2) * halves;
