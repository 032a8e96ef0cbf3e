import type { ByteSource, FileTree } from '../weights/byte-source.ts';
import { openCheckpoint } from '../weights/checkpoint.ts';
import { crc32 } from '../weights/crc32.ts';
import { byteLengthOf, elementCount } from '../weights/dtypes.ts';
import { checkFit } from '../weights/fit.ts';
import { GROUP, type PackedRows } from '../weights/quantization.ts';
import {
  type QuantizationRecipe,
  recipeMetadata,
  type StoredPrecision,
} from '../weights/quantization-recipe.ts';
import { readJson } from '../weights/read-text.ts';
import { encodeSafetensorsHeader } from '../weights/safetensors-writer.ts';
import { CheckpointError } from './errors.ts';
import { parseModelConfig } from './model-config.ts';
import { checkpointTensors, modelSpec } from './params.ts';
import { convertRows, piecesOf } from './quantize-pieces.ts';
import {
  type PlannedShard,
  type PlannedTensor,
  planShards,
  planTensors,
  writtenBytes,
} from './quantize-plan.ts';

/** A folder that is written to; whoever made it decides when it appears under its name. */
export interface FolderWriter {
  /** Fails when the disk has no room for so many bytes. */
  reserve(bytes: number): Promise<void>;
  create(path: string): Promise<FileWriter>;
}

export interface FileWriter {
  append(bytes: Uint8Array): Promise<void>;
  /** Replaces bytes that were appended before. */
  rewrite(bytes: Uint8Array, position: number): Promise<void>;
  /** Everything is on the disk when it resolves. */
  close(): Promise<void>;
}

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

const COPY_BYTES = 4 * 2 ** 20;
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
  const { precision, everywhere, calibration, tool, sha256, shardSize = 5e9, signal, onProgress } = options;
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
    const shards = planShards(tensors, shardSize);
    const checksums = new Map<string, number>();
    for (const { name } of tensors.flatMap((t) => t.headings)) checksums.set(name, 0);
    const places = await createShards(folder, shards);
    const write = async (tensor: PlannedTensor, heading: number, bytes: Uint8Array) => {
      const { name } = tensor.headings[heading];
      checksums.set(name, crc32(bytes, checksums.get(name)));
      await places.get(tensor)?.append(bytes);
    };
    try {
      // Hashes and checksums have a fixed length: the header that tells them will fit over this one.
      for (const shard of shards) {
        await places.get(shard.tensors[0])?.append(headerOf(shard, recipeOf([]), checksums));
      }
      const sourceBytes = sources.reduce((sum, { source }) => sum + source.size, 0);
      const hashes: string[] = [];
      let done = 0;
      for (const source of sources) {
        const hash = sha256();
        const scales: Uint8Array[] = []; // of one tensor: they follow its codes
        for await (const { bytes, tensor, row, last } of piecesOf(source, signal)) {
          hash.update(bytes);
          if (tensor) {
            const [own, itsScales] = convertRows(tensor, bytes, row);
            await write(tensor, 0, own);
            if (itsScales) scales.push(itsScales);
            if (last) for (const part of scales.splice(0)) await write(tensor, 1, part);
          }
          done += bytes.byteLength;
          onProgress?.(done, sourceBytes);
        }
        hashes.push(hash.hex());
      }
      const begins = new Map(
        shards.flatMap((shard) => tensorBegins(shard, headerOf(shard, recipeOf([]), checksums))),
      );
      const calibrated = calibration
        ? await roundAgain(tensors, calibration, async (tensor, heading, bytes) => {
            const { name } = tensor.headings[heading];
            checksums.set(name, crc32(bytes));
            const skipped =
              heading === 0 ? 0 : byteLengthOf(tensor.headings[0].dtype, tensor.headings[0].shape);
            await places.get(tensor)?.rewrite(bytes, (begins.get(tensor) as number) + skipped);
          })
        : null;
      const recipe = recipeOf(hashes);
      for (const shard of shards) {
        await places.get(shard.tensors[0])?.rewrite(headerOf(shard, recipe, checksums), 0);
      }
      return {
        recipe,
        files: [
          ...shards.map(({ path }) => path),
          ...(await writeIndex(folder, shards)),
          ...(await copyOthers(tree, folder, config.taskNames, signal)),
        ].sort(),
        parameters: parametersOf(tensors),
        calibrated,
        sourceBytes,
        bytes: writtenBytes(tensors),
      };
    } finally {
      for (const file of new Set(places.values())) await file.close();
    }
  } finally {
    await checkpoint.close();
  }
}

/** Where the bytes of each tensor of a shard begin. */
function tensorBegins(
  { tensors }: PlannedShard,
  header: Uint8Array,
): readonly (readonly [PlannedTensor, number])[] {
  let at = header.byteLength;
  return tensors.map((tensor) => {
    const begin = at;
    at += writtenBytes([tensor]);
    return [tensor, begin] as const;
  });
}

/** Writes the codes and scales of a calibration over those that are there. */
async function roundAgain(
  tensors: readonly PlannedTensor[],
  calibration: Calibration,
  rewrite: (tensor: PlannedTensor, heading: number, bytes: Uint8Array) => Promise<void>,
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
    await rewrite(tensor, 0, rows.codes);
    await rewrite(tensor, 1, rows.scales);
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

/** The file that each tensor goes to. */
async function createShards(
  folder: FolderWriter,
  shards: readonly PlannedShard[],
): Promise<ReadonlyMap<PlannedTensor, FileWriter>> {
  const places = new Map<PlannedTensor, FileWriter>();
  for (const { path, tensors } of shards) {
    const file = await folder.create(path);
    for (const tensor of tensors) places.set(tensor, file);
  }
  return places;
}

function headerOf(
  { tensors }: PlannedShard,
  recipe: QuantizationRecipe,
  checksums: ReadonlyMap<string, number>,
): Uint8Array {
  const headings = tensors.flatMap((t) => t.headings);
  const reshaped = tensors.filter((t) => t.headings[0].shape.join() !== t.entry.shape.join());
  return encodeSafetensorsHeader(
    headings,
    recipeMetadata(
      recipe,
      new Map(headings.map(({ name }) => [name, checksums.get(name) as number])),
      new Map(reshaped.map(({ entry }) => [entry.name, entry.shape])),
    ),
  );
}

/** `model.safetensors.index.json`, where there is more than one file. */
async function writeIndex(folder: FolderWriter, shards: readonly PlannedShard[]): Promise<readonly string[]> {
  if (shards.length === 1) return [];
  const path = 'model.safetensors.index.json';
  const index = {
    metadata: { total_size: writtenBytes(shards.flatMap((s) => s.tensors)) },
    weight_map: Object.fromEntries(
      shards
        .flatMap((shard) => shard.tensors.flatMap((t) => t.headings.map(({ name }) => [name, shard.path])))
        .sort(([x], [y]) => (x < y ? -1 : 1)),
    ),
  };
  const file = await folder.create(path);
  try {
    await file.append(new TextEncoder().encode(`${JSON.stringify(index, null, 1)}\n`));
  } finally {
    await file.close();
  }
  return [path];
}

const SMALL_FILES = ['config.json', 'tokenizer.json', 'tokenizer_config.json', 'preprocessor_config.json'];
const ADAPTER_FILES = ['adapter_config.json', 'adapter_model.safetensors'];

/** Adapters, tokenizer, configs, licence, byte for byte. Nothing else of the folder: it may hold other forms of the weights. */
async function copyOthers(
  tree: FileTree,
  folder: FolderWriter,
  taskNames: readonly string[],
  signal?: AbortSignal,
): Promise<readonly string[]> {
  const adapterFolders = ['', 'adapters/', ...taskNames.map((task) => `adapters/${task}/`)];
  const known = [...SMALL_FILES, ...adapterFolders.flatMap((at) => ADAPTER_FILES.map((name) => at + name))];
  const listed = (await tree.list()) ?? known; // HTTP lists nothing
  const wanted = listed.filter(
    (path) =>
      path.startsWith('adapters/') ||
      (known.includes(path) && !path.includes('/')) ||
      /^(?:[^/]+\.(?:json|txt|md)|LICEN[CS]E[^/]*|NOTICE[^/]*)$/.test(path),
  );
  const copied: string[] = [];
  for (const path of wanted) {
    if (path === 'model.safetensors.index.json') continue;
    const source = await tree.open(path, signal);
    if (source === null) continue;
    try {
      await copyFile(source, await folder.create(path), signal);
    } finally {
      await source.close();
    }
    copied.push(path);
  }
  return copied;
}

async function copyFile(source: ByteSource, file: FileWriter, signal?: AbortSignal): Promise<void> {
  try {
    for (let at = 0; at < source.size; at += COPY_BYTES) {
      await file.append(await source.read(at, Math.min(COPY_BYTES, source.size - at), signal));
    }
  } finally {
    await file.close();
  }
}

const baseName = (path: string): string => path.split(/[/\\]/).at(-1) as string;
