/** What goes into one file of a checkpoint. */
export type Shard<T> = { readonly path: string; readonly tensors: readonly T[] };

/** Tensors, in order, into files of at most `shardSize` bytes (a larger tensor has a file of its own), named as the hub names them. */
export function intoShards<T>(
  tensors: readonly T[],
  bytesOf: (tensor: T) => number,
  shardSize: number,
): readonly Shard<T>[] {
  const shards: T[][] = [];
  let room = 0;
  for (const tensor of tensors) {
    const bytes = bytesOf(tensor);
    if (shards.length === 0 || bytes > room) {
      shards.push([]);
      room = shardSize;
    }
    shards[shards.length - 1].push(tensor);
    room -= bytes;
  }
  if (shards.length === 1) return [{ path: 'model.safetensors', tensors: shards[0] }];
  const digits = (n: number) => String(n).padStart(5, '0');
  return shards.map((shard, i) => ({
    path: `model-${digits(i + 1)}-of-${digits(shards.length)}.safetensors`,
    tensors: shard,
  }));
}
