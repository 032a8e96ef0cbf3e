import type { ByteSource } from '../../weights/byte-source.ts';
import type { Checkpoint } from '../../weights/checkpoint.ts';
import { byteLengthOf, elementCount } from '../../weights/dtypes.ts';
import { intoShards, type Shard } from '../../weights/into-shards.ts';
import { QUANT_DTYPES } from '../../weights/quantization.ts';
import {
  codesShape,
  type StoredPrecision,
  scalesName,
  scalesShape,
} from '../../weights/quantization-recipe.ts';
import type { TensorEntry } from '../../weights/safetensors.ts';
import type { TensorHeading } from '../../weights/safetensors-writer.ts';
import { leavesOf, type ModelSpec } from '../params.ts';
import { delicateMaps } from './delicate-maps.ts';

/** A tensor on its way into another form. */
export type PlannedTensor = {
  readonly entry: TensorEntry;
  /** What its values become; `null`: its bytes are copied. */
  readonly to: StoredPrecision | 'bfloat16' | null;
  /** What is written for it: one tensor, or codes and scales. */
  readonly headings: readonly TensorHeading[];
};

/** A source file with all its tensors in the order of its bytes; `planned` is null for one that no model uses. */
export type SourceFile = {
  readonly source: ByteSource;
  readonly tensors: readonly { readonly entry: TensorEntry; readonly planned: PlannedTensor | null }[];
};

export type PlannedShard = Shard<PlannedTensor>;

/**
 * What every tensor becomes. Quantised are the weights of the linear maps in the blocks and the merger: 99.9 % of all
 * parameters outside the table. With int4, 4 bits go to the decoder's gate and up projections, nearly half of all
 * parameters, whose errors the product of the two and the down projection average out; the other maps get int8. With `everywhere`
 * they get 4 bits, too, but for the delicate ones (`delicateMaps`).
 * Kept as they are:
 * - the token table, whose rows go into the residual stream as they are: nothing averages their errors, and a call reads a few of
 *   them only (an F32 table becomes bfloat16, as published)
 * - the patch embedding, which is to images what the table is to texts
 * - the multi-vector projector, whose errors are those of the vectors, with no layer after it
 * - norms and biases: a ten-thousandth of the bytes, and a factor or shift of whole channels
 */
export function planTensors(
  spec: ModelSpec,
  checkpoint: Checkpoint,
  { precision, everywhere = false }: { precision: StoredPrecision; everywhere?: boolean },
): readonly SourceFile[] {
  const kept = [spec.visual.patchEmbed, spec.multiVectorProjector].map(({ name }) => name);
  const matrices = new Set(
    leavesOf(spec).flatMap((l) =>
      l.leaf === 'linear' && !kept.includes(l.name) ? [`${l.name}.weight`] : [],
    ),
  );
  const delicate = new Set([...delicateMaps(spec)].map(({ name }) => `${name}.weight`));
  const robust = new Set(
    everywhere
      ? [...matrices].filter((name) => !delicate.has(name))
      : spec.model.layers.flatMap(({ mlp }) => [`${mlp.gateProj.name}.weight`, `${mlp.upProj.name}.weight`]),
  );
  const planOf = (name: string, entry: TensorEntry): PlannedTensor => {
    if (matrices.has(name))
      return planned(entry, precision === 'int4' && !robust.has(name) ? 'int8' : precision);
    const wide = entry.dtype === 'F32' || entry.dtype === 'F64';
    return planned(entry, wide && name === spec.model.embedTokens.name ? 'bfloat16' : null);
  };
  return checkpoint.files.map((source) => ({
    source,
    tensors: [...checkpoint.entries]
      .filter(([, entry]) => entry.source === source)
      .sort(([, x], [, y]) => x.begin - y.begin)
      .map(([name, entry]) => ({ entry, planned: name === 'lm_head.weight' ? null : planOf(name, entry) })),
  }));
}

function planned(entry: TensorEntry, to: PlannedTensor['to']): PlannedTensor {
  const { name, shape } = entry;
  if (to === null) return { entry, to, headings: [{ name, dtype: entry.dtype, shape }] };
  if (to === 'float16') return { entry, to, headings: [{ name, dtype: 'F16', shape }] };
  if (to === 'bfloat16') return { entry, to, headings: [{ name, dtype: 'BF16', shape }] };
  const { codes, scales } = QUANT_DTYPES[to];
  return {
    entry,
    to,
    headings: [
      { name, dtype: codes, shape: codesShape(to, shape) },
      { name: scalesName(name), dtype: scales, shape: scalesShape(to, shape) },
    ],
  };
}

/** Values a row of a tensor has: what one scale or one group may cover. */
export const rowWidth = ({ shape }: TensorEntry): number => elementCount(shape.slice(1));

export const writtenBytes = (tensors: readonly PlannedTensor[]): number =>
  tensors.flatMap((t) => t.headings).reduce((sum, { dtype, shape }) => sum + byteLengthOf(dtype, shape), 0);

export const planShards = (tensors: readonly PlannedTensor[], shardSize: number): readonly PlannedShard[] =>
  intoShards(tensors, (tensor) => writtenBytes([tensor]), shardSize);
