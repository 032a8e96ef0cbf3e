import { CheckpointError } from '../src/errors.ts';
import type { ByteSource, FileTree } from './byte-source.ts';
import { canonicalName } from './names.ts';
import { counted, listProblems } from './problem-list.ts';
import { describeTensors, type QuantizationRecipe } from './quantization-recipe.ts';
import { readHeader, type TensorEntry } from './safetensors.ts';
import { readShardIndex, type ShardIndex } from './shard-index.ts';

/** An open checkpoint: where every tensor lies. Its sources stay open until `close`. */
export type Checkpoint = {
  readonly name: string;
  /** By canonical name; an entry's own `name` is the one in its file. */
  readonly entries: ReadonlyMap<string, TensorEntry>;
  readonly files: readonly ByteSource[];
  /** How it was quantised, if it was. */
  readonly recipe: QuantizationRecipe | null;
  close(): Promise<void>;
};

/**
 * Opens `model.safetensors`, or the shards that `model.safetensors.index.json` lists. Reads headers only. What is missing,
 * damaged or contradictory is a `CheckpointError`; everything opened by then is closed.
 */
export async function openCheckpoint(tree: FileTree, signal?: AbortSignal): Promise<Checkpoint> {
  const single = await tree.open('model.safetensors', signal);
  if (single !== null) return openCheckpointFile(single, signal);
  const index = await readShardIndex(tree, signal);
  if (index !== null) return openShards(tree, index, signal);
  throw new CheckpointError(
    `${tree.name}: no weights: neither model.safetensors nor model.safetensors.index.json is there; ` +
      'give the folder that holds them, or download the checkpoint with its .safetensors files',
  );
}

/** A checkpoint that is one safetensors file of any name. The source becomes the checkpoint's, also when this fails. */
export async function openCheckpointFile(source: ByteSource, signal?: AbortSignal): Promise<Checkpoint> {
  return closingOnFailure([source], async () => {
    const { entries, recipe } = describeTensors(await readHeader(source, signal));
    return checkpointOf(source.name, entries, [source], recipe);
  });
}

async function openShards(tree: FileTree, index: ShardIndex, signal?: AbortSignal): Promise<Checkpoint> {
  const files: ByteSource[] = [];
  return closingOnFailure(files, async () => {
    const found = new Map<string, TensorEntry[]>();
    const problems: string[] = [];
    const described: ReturnType<typeof describeTensors>[] = [];
    for (const [shard, names] of index.shards) {
      const source = await tree.open(shard, signal);
      if (source === null) {
        problems.push(`missing file ${shard}, which should hold ${counted(names.length, 'tensor')}`);
        for (const name of names) found.set(name, found.get(name) ?? []); // told by its file, not again one by one
        continue;
      }
      files.push(source);
      const header = await readHeader(source, signal);
      const { tensors } = header;
      described.push(describeTensors(header));
      for (const entry of tensors.values()) found.set(entry.name, [...(found.get(entry.name) ?? []), entry]);
      for (const name of names) {
        if (!tensors.has(name))
          problems.push(`missing     ${name}: listed in ${shard}, but not in that file`);
      }
    }
    for (const [name, entries] of found) {
      if (entries.length > 1)
        problems.push(`twice       ${name}: in ${entries.map((e) => e.source.name).join(' and ')}`);
      else if (!index.listed.has(name))
        problems.push(`unlisted    ${name}: in ${entries[0].source.name}, but not in the index`);
    }
    if (problems.length > 0) {
      const title = `${index.name}: the index and its files do not agree (${counted(problems.length, 'problem')}):`;
      throw new CheckpointError(
        `${listProblems(title, problems)}\nthe files are of different versions or some are missing: download the checkpoint again`,
      );
    }
    return checkpointOf(
      tree.name,
      described.flatMap(({ entries }) => entries),
      files,
      sameRecipe(index.name, described),
    );
  });
}

/** The one recipe of all shards. Some of one quantisation and some of another would be a model that nobody made. */
function sameRecipe(
  name: string,
  shards: readonly { readonly recipe: QuantizationRecipe | null }[],
): QuantizationRecipe | null {
  const [first, ...others] = shards.map(({ recipe }) => recipe);
  if (others.every((recipe) => JSON.stringify(recipe) === JSON.stringify(first))) return first;
  throw new CheckpointError(
    `${name}: its files are of different quantisations; download the checkpoint again, or quantise it again`,
  );
}

function checkpointOf(
  name: string,
  tensors: readonly TensorEntry[],
  files: readonly ByteSource[],
  recipe: QuantizationRecipe | null,
): Checkpoint {
  const entries = new Map<string, TensorEntry>();
  for (const entry of tensors) {
    const canonical = canonicalName(entry.name);
    const other = entries.get(canonical);
    if (other !== undefined) {
      throw new CheckpointError(
        `${name}: ${other.name} and ${entry.name} are the same tensor, ${canonical}, in two layouts; remove one of them`,
      );
    }
    entries.set(canonical, entry);
  }
  return {
    name,
    entries,
    files,
    recipe,
    async close() {
      await Promise.all(files.map((file) => file.close()));
    },
  };
}

async function closingOnFailure<T>(files: readonly ByteSource[], open: () => Promise<T>): Promise<T> {
  try {
    return await open();
  } catch (error) {
    await Promise.all(files.map((file) => file.close()));
    throw error;
  }
}
