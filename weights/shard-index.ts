import { CheckpointError } from '../src/errors.ts';
import type { FileTree } from './byte-source.ts';
import { readJsonIfThere } from './read-text.ts';

/** What `model.safetensors.index.json` says: which shard holds which tensors. */
export type ShardIndex = {
  /** Of the index file, for messages. */
  readonly name: string;
  /** Tensor names by shard file, both in the index's order. */
  readonly shards: ReadonlyMap<string, readonly string[]>;
  readonly listed: ReadonlySet<string>;
};

/** The index of a sharded checkpoint, or `null` when there is none. An index of another form is a `CheckpointError`. */
export async function readShardIndex(tree: FileTree, signal?: AbortSignal): Promise<ShardIndex | null> {
  const path = 'model.safetensors.index.json';
  const json = await readJsonIfThere(tree, path, { signal });
  if (json === undefined) return null;
  const name = `${tree.name}/${path}`;
  const map = (json as { weight_map?: unknown } | null)?.weight_map;
  if (typeof map !== 'object' || map === null || Array.isArray(map) || Object.keys(map).length === 0) {
    throw new CheckpointError(
      `${name}: "weight_map" must be an object of tensor names and files, got ${JSON.stringify(map)}`,
    );
  }
  const shards = new Map<string, string[]>();
  for (const [tensor, file] of Object.entries(map)) {
    // Shards lie beside the index. Anything else is a path that a download should not be able to choose.
    if (typeof file !== 'string' || !/^[^/\\]+\.safetensors$/.test(file)) {
      throw new CheckpointError(
        `${name}: ${tensor} must be in a .safetensors file beside the index, got ${JSON.stringify(file)}`,
      );
    }
    shards.set(file, [...(shards.get(file) ?? []), tensor]);
  }
  return { name, shards, listed: new Set(Object.keys(map)) };
}
