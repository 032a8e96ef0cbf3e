import * as tf from '@tensorflow/tfjs-core';
import type { EmbeddingTable, LoraTerm, Matrix } from '../../../kernels/index.ts';
import {
  type AdapterFiles,
  type AdapterModuleValues,
  type AdapterValues,
  type AdapterWriteOptions,
  encodeAdapter,
  type SavedModuleValues,
} from '../../../weights/adapter-writer.ts';
import { TOKEN_TABLE } from '../../../weights/names.ts';
import { InputError } from '../../errors.ts';
import type { Adapter } from '../with-adapters.ts';

export type { AdapterFiles, AdapterWriteOptions } from '../../../weights/adapter-writer.ts';

/**
 * An adapter → the two files of a PEFT folder, in memory: `adapter_config.json`, and `adapter_model.safetensors` in pieces
 * (a page makes a Blob of them; Node's `saveAdapter` writes them). float32 takes 4 bytes a parameter.
 * @throws InputError for what no PEFT config describes: a weighed DoRA, a ReLU or a DoRA on some maps only
 */
export const adapterFiles = async (
  adapter: Adapter,
  options: AdapterWriteOptions = {},
): Promise<AdapterFiles> => encodeAdapter(await adapterValues(adapter), options);

/** An adapter's numbers as a PEFT file holds them. */
async function adapterValues(adapter: Adapter): Promise<AdapterValues> {
  const activation = oneActivation(adapter);
  checkDora(adapter);
  const modules = new Map<string, AdapterModuleValues>();
  for (const [module, term] of adapter.terms) {
    const { a, b, scale, bBias = null, dora } = term;
    modules.set(module, {
      a: await turned(a), // [in, R] here, [R, in] in the file
      b: await turned(b), // [R, out] here, [out, R] in the file
      rank: a.outSize,
      inSize: a.inSize,
      outSize: b.outSize,
      scale,
      bBias: bBias && ((await bBias.data()) as Float32Array),
      magnitude: dora ? ((await dora.magnitude.data()) as Float32Array) : null,
      kernel: adapter.kernels?.get(module) ?? null,
      table: module === TOKEN_TABLE,
    });
  }
  const saved = new Map<string, SavedModuleValues>();
  for (const [module, { weight, bias }] of adapter.saved ?? []) {
    saved.set(module, {
      weight: weight ? await turned(weight) : null,
      shape: adapter.kernels?.get(module) ?? (weight ? [weight.outSize, weight.inSize] : []),
      bias: bias && ((await bias.data()) as Float32Array),
    });
  }
  for (const [module, { weight }] of adapter.norms ?? [])
    saved.set(module, { weight: (await weight.data()) as Float32Array, shape: weight.shape, bias: null });
  if (adapter.table) {
    const { rows, width } = adapter.table;
    saved.set(TOKEN_TABLE, { weight: await rowsOf(adapter.table), shape: [rows, width], bias: null });
  }
  return { modules, saved, activation };
}

const ROWS_AT_ONCE = 4096;

/** All rows of a table, one after the other. */
async function rowsOf(table: EmbeddingTable): Promise<Float32Array> {
  const values = new Float32Array(table.rows * table.width);
  for (let begin = 0; begin < table.rows; begin += ROWS_AT_ONCE) {
    const length = Math.min(ROWS_AT_ONCE, table.rows - begin);
    const rows = await table.gather(Int32Array.from({ length }, (_, i) => begin + i));
    try {
      values.set(await rows.data(), begin * table.width);
    } finally {
      rows.dispose();
    }
  }
  return values;
}

async function turned(matrix: Matrix): Promise<Float32Array> {
  const rows = tf.tidy(() => tf.transpose(matrix.dense()));
  try {
    return (await rows.data()) as Float32Array;
  } finally {
    rows.dispose();
  }
}

function oneActivation({ name, terms }: Adapter): LoraTerm['activation'] {
  const found = [...new Set([...terms.values()].map((t) => t.activation))];
  if (found.length > 1) {
    throw new InputError(
      `adapter "${name}" has a ReLU between the matrices of some maps and not of others; one file says it for all: split it`,
    );
  }
  return found[0] ?? 'none';
}

function checkDora({ name, terms }: Adapter): void {
  const dora = [...terms.values()].filter((t) => t.dora);
  if (dora.length > 0 && dora.length < terms.size) {
    throw new InputError(
      `adapter "${name}" is a DoRA on ${dora.length} of its ${terms.size} maps; use_dora holds for a whole file: split it`,
    );
  }
  if (dora.some((t) => t.dora?.weight !== 1 || t.bBias)) {
    throw new InputError(
      `adapter "${name}" is a weighed DoRA, or one with a bias of B, which PEFT does not know; save the adapter it came from`,
    );
  }
}
