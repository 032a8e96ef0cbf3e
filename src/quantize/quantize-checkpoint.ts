import type { FileTree } from '../../weights/byte-source.ts';
import { openCheckpoint } from '../../weights/checkpoint.ts';
import { elementCount } from '../../weights/dtypes.ts';
import { checkFit } from '../../weights/fit.ts';
import { GROUP, type PackedRows } from '../../weights/quantization.ts';
import type { QuantizationRecipe, StoredPrecision } from '../../weights/quantization-recipe.ts';
import { readJson } from '../../weights/read-text.ts';
import { CheckpointError } from '../errors.ts';
import { parseModelConfig } from '../model-config.ts';
import { checkpointTensors, modelSpec } from '../params.ts';
import { copyOthers } from './copy-others.ts';
import type { FolderWriter } from './folder-writer.ts';
import { convertRows, piecesOf } from './pieces.ts';
import { type PlannedTensor, planShards, planTensors, type SourceFile, writtenBytes } from './plan.ts';
import { ShardFiles } from './shard-files.ts';

/** SHA-256 of what it is given, in pieces. */
export type Sha256 = { update(bytes: Uint8Array): void; hex(): string };

export type Calibration = {
  /** What is known of the inputs, for the recipe. */
  readonly inputs: NonNullable<QuantizationRecipe['calibration']>;
  /** The maps of these module paths in int4, each once and in any order; those that the inputs never reach are left out. */
  round(maps: ReadonlySet<string>): AsyncIterable<{ readonly name: string; readonly rows: PackedRows }>;
};

export type QuantizeOptions = {
  readonly precision: StoredPrecision;
  /** int4 for every linear map, not only for those that bear it well (`planTensors`). */
  readonly everywhere?: boolean;
  /** int4 maps rounded for inputs of a kind. They take the place of those that were rounded for themselves. */
  readonly calibration?: Calibration;
  /** What makes it, with its version, for the recipe. */
  readonly tool: string;
  readonly sha256: () => Sha256;
  /** Bytes of tensors in one file, at most. Default: 5 GB, as the hub cuts them. */
  readonly shardSize?: number;
  readonly signal?: AbortSignal;
  /** Bytes of the source's weights that are done, and in all. */
  readonly onProgress?: (done: number, total: number) => void;
};

export type QuantizedCheckpoint = {
  readonly recipe: QuantizationRecipe;
  readonly files: readonly string[];
  /** Parameters of the linear maps, by what they became. */
  readonly parameters: Readonly<Partial<Record<StoredPrecision, number>>>;
  /** int4 maps that were rounded for the inputs of a calibration, and those that these never reached; null without one. */
  readonly calibrated: { readonly maps: number; readonly unreached: number } | null;
  /** Bytes of weights: read, and written. */
  readonly sourceBytes: number;
  readonly bytes: number;
};

const UNKNOWN = '0'.repeat(64);

/**
 * A checkpoint in the published layout → the same with its linear maps in another precision (weights/README.md, "Quantised").
 * Goes through the source's bytes once and in order, so memory is a few chunks and one tensor's scales, whatever the model.
 * Adapters, tokenizer and configs are copied. The same source gives the same bytes. A calibration's maps are written over those
 * that are there, as they come.
 * @throws CheckpointError for a source that is quantised already, does not fit its config, or holds weights that are not finite
 */
export async function quantizeCheckpoint(
  tree: FileTree,
  folder: FolderWriter,
  options: QuantizeOptions,
): Promise<QuantizedCheckpoint> {
  const { precision, everywhere, calibration, tool, shardSize = 5e9, signal } = options;
  const config = parseModelConfig(await readJson(tree, 'config.json', { signal }));
  const spec = modelSpec(config);
  const checkpoint = await openCheckpoint(tree, signal);
  try {
    if (checkpoint.recipe) {
      throw new CheckpointError(
        `${tree.name}: is ${checkpoint.recipe.precision} already, quantised by ${checkpoint.recipe.tool}; a second rounding would ` +
          'add to the first: quantise the checkpoint that it was made from',
      );
    }
    checkFit(checkpointTensors(spec), checkpoint.entries);
    const sources = planTensors(spec, checkpoint, { precision, everywhere });
    const tensors = sources.flatMap((s) => s.tensors.flatMap((t) => t.planned ?? []));
    await folder.reserve(writtenBytes(tensors));
    const recipeOf = (hashes: readonly string[]): QuantizationRecipe => ({
      precision,
      group: precision === 'int4' ? GROUP : null,
      tool,
      ...(calibration && { calibration: calibration.inputs }),
      source: sources.map(({ source }, i) => ({
        file: baseName(source.name),
        bytes: source.size,
        sha256: hashes[i] ?? UNKNOWN,
      })),
    });
    const shards = await ShardFiles.create(folder, planShards(tensors, shardSize), recipeOf([]));
    try {
      const hashes = await convertAll(sources, shards, options);
      const calibrated = calibration ? await roundAgain(tensors, calibration, shards) : null;
      const recipe = recipeOf(hashes);
      return {
        recipe,
        files: [
          ...(await shards.finish(recipe)),
          ...(await copyOthers(tree, folder, config.taskNames, signal)),
        ].sort(),
        parameters: parametersOf(tensors),
        calibrated,
        sourceBytes: totalBytes(sources),
        bytes: writtenBytes(tensors),
      };
    } finally {
      await shards.close();
    }
  } finally {
    await checkpoint.close();
  }
}

/** Every tensor rounded for itself. → the SHA-256 of each source file */
async function convertAll(
  sources: readonly SourceFile[],
  shards: ShardFiles,
  { sha256, signal, onProgress }: QuantizeOptions,
): Promise<readonly string[]> {
  const hashes: string[] = [];
  let done = 0;
  for (const source of sources) {
    const hash = sha256();
    const scales: Uint8Array[] = []; // of one tensor: they follow its codes
    for await (const { bytes, tensor, row, last } of piecesOf(source, signal)) {
      hash.update(bytes);
      if (tensor) {
        const [own, itsScales] = convertRows(tensor, bytes, row);
        await shards.append(tensor, 0, own);
        if (itsScales) scales.push(itsScales);
        if (last) for (const part of scales.splice(0)) await shards.append(tensor, 1, part);
      }
      done += bytes.byteLength;
      onProgress?.(done, totalBytes(sources));
    }
    hashes.push(hash.hex());
  }
  return hashes;
}

/** Writes the codes and scales of a calibration over those that are there. */
async function roundAgain(
  tensors: readonly PlannedTensor[],
  calibration: Calibration,
  shards: ShardFiles,
): Promise<NonNullable<QuantizedCheckpoint['calibrated']>> {
  const ending = '.weight';
  const wanted = new Map(
    tensors.flatMap((t) =>
      t.to === 'int4' ? [[t.headings[0].name.slice(0, -ending.length), t] as const] : [],
    ),
  );
  let maps = 0;
  for await (const { name, rows } of calibration.round(new Set(wanted.keys()))) {
    const tensor = wanted.get(name) as PlannedTensor;
    await shards.rewrite(tensor, 0, rows.codes);
    await shards.rewrite(tensor, 1, rows.scales);
    maps++;
  }
  return { maps, unreached: wanted.size - maps };
}

function parametersOf(tensors: readonly PlannedTensor[]): QuantizedCheckpoint['parameters'] {
  const counts: Partial<Record<StoredPrecision, number>> = {};
  for (const { entry, to } of tensors) {
    if (to !== null && to !== 'bfloat16') counts[to] = (counts[to] ?? 0) + elementCount(entry.shape);
  }
  return counts;
}

const totalBytes = (sources: readonly SourceFile[]): number =>
  sources.reduce((sum, { source }) => sum + source.size, 0);

const baseName = (path: string): string => path.split(/[/\\]/).at(-1) as string;
