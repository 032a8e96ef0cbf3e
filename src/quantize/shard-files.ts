import { crc32 } from '../../weights/crc32.ts';
import { byteLengthOf } from '../../weights/dtypes.ts';
import { type QuantizationRecipe, recipeMetadata } from '../../weights/quantization-recipe.ts';
import { encodeSafetensorsHeader } from '../../weights/safetensors-writer.ts';
import type { FileWriter, FolderWriter } from './folder-writer.ts';
import { type PlannedShard, type PlannedTensor, writtenBytes } from './plan.ts';

type Place = { readonly file: FileWriter; readonly begin: number };

/**
 * The weights of a quantised checkpoint on their way into files. A header goes first and tells what is known last, hashes and
 * checksums: both have a fixed length, so the true header fits over a preliminary one.
 */
export class ShardFiles {
  readonly #folder: FolderWriter;
  readonly #shards: readonly PlannedShard[];
  readonly #places = new Map<PlannedTensor, Place>();
  readonly #files: FileWriter[] = [];
  /** Of every tensor in the files, by name. */
  readonly #checksums = new Map<string, number>();

  private constructor(folder: FolderWriter, shards: readonly PlannedShard[]) {
    this.#folder = folder;
    this.#shards = shards;
    for (const { name } of shards.flatMap((s) => s.tensors).flatMap((t) => t.headings))
      this.#checksums.set(name, 0);
  }

  /** Creates the files. `preliminary`: a recipe that takes as many bytes as the true one. */
  static async create(
    folder: FolderWriter,
    shards: readonly PlannedShard[],
    preliminary: QuantizationRecipe,
  ): Promise<ShardFiles> {
    const made = new ShardFiles(folder, shards);
    try {
      for (const shard of shards) {
        const file = await folder.create(shard.path);
        made.#files.push(file);
        const header = made.#headerOf(shard, preliminary);
        await file.append(header);
        let begin = header.byteLength;
        for (const tensor of shard.tensors) {
          made.#places.set(tensor, { file, begin });
          begin += writtenBytes([tensor]);
        }
      }
    } catch (error) {
      await made.close().catch(() => {}); // the first error tells more
      throw error;
    }
    return made;
  }

  /** The next bytes of a shard. `heading`: which part of the tensor they belong to, codes or scales. */
  async append(tensor: PlannedTensor, heading: number, bytes: Uint8Array): Promise<void> {
    const { name } = tensor.headings[heading];
    this.#checksums.set(name, crc32(bytes, this.#checksums.get(name)));
    await this.#placeOf(tensor).file.append(bytes);
  }

  /** All bytes of a part that was written before, anew. */
  async rewrite(tensor: PlannedTensor, heading: number, bytes: Uint8Array): Promise<void> {
    this.#checksums.set(tensor.headings[heading].name, crc32(bytes));
    const { file, begin } = this.#placeOf(tensor);
    const before = tensor.headings.slice(0, heading);
    await file.rewrite(
      bytes,
      before.reduce((at, { dtype, shape }) => at + byteLengthOf(dtype, shape), begin),
    );
  }

  /** Writes the headers, and an index where there is more than one file. → the paths of all files */
  async finish(recipe: QuantizationRecipe): Promise<readonly string[]> {
    for (const [i, shard] of this.#shards.entries())
      await this.#files[i].rewrite(this.#headerOf(shard, recipe), 0);
    return [...this.#shards.map(({ path }) => path), ...(await this.#writeIndex())];
  }

  /** Closes every file, whatever becomes of the others. */
  async close(): Promise<void> {
    const closed = await Promise.allSettled(this.#files.map((file) => file.close()));
    for (const one of closed) if (one.status === 'rejected') throw one.reason;
  }

  #placeOf(tensor: PlannedTensor): Place {
    return this.#places.get(tensor) as Place;
  }

  #headerOf({ tensors }: PlannedShard, recipe: QuantizationRecipe): Uint8Array {
    const headings = tensors.flatMap((t) => t.headings);
    const reshaped = tensors.filter((t) => t.headings[0].shape.join() !== t.entry.shape.join());
    return encodeSafetensorsHeader(
      headings,
      recipeMetadata(
        recipe,
        new Map(headings.map(({ name }) => [name, this.#checksums.get(name) as number])),
        new Map(reshaped.map(({ entry }) => [entry.name, entry.shape])),
      ),
    );
  }

  /** `model.safetensors.index.json` */
  async #writeIndex(): Promise<readonly string[]> {
    if (this.#shards.length === 1) return [];
    const path = 'model.safetensors.index.json';
    const index = {
      metadata: { total_size: writtenBytes(this.#shards.flatMap((s) => s.tensors)) },
      weight_map: Object.fromEntries(
        this.#shards
          .flatMap((shard) => shard.tensors.flatMap((t) => t.headings.map(({ name }) => [name, shard.path])))
          .sort(([x], [y]) => (x < y ? -1 : 1)),
      ),
    };
    const file = await this.#folder.create(path);
    try {
      await file.append(new TextEncoder().encode(`${JSON.stringify(index, null, 1)}\n`));
    } finally {
      await file.close();
    }
    return [path];
  }
}
