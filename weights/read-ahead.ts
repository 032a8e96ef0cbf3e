import type { TensorEntry } from './safetensors-header.ts';

/** The bytes of a group of tensors, by name. They lie in a buffer that is lent: valid until the take after the next. */
export type LentBytes = ReadonlyMap<string, Uint8Array>;

export interface ReadAhead {
  /** Group `i`. While the caller works on it, the group after it is being read. */
  take(i: number, signal?: AbortSignal): Promise<LentBytes>;
}

const ALIGNMENT = 64; // what SIMD code likes best

/**
 * Reads groups of tensors in order, one group ahead, into two buffers that take turns: disk and arithmetic overlap, and
 * memory is two groups whatever the size of the checkpoint. After the last group comes the first, for the next pass,
 * unless `once`.
 */
export function readAhead(
  groups: readonly (readonly TensorEntry[])[],
  { once = false }: { readonly once?: boolean } = {},
): ReadAhead {
  const buffers: [ArrayBuffer | null, ArrayBuffer | null] = [null, null];
  let turn = 0;
  let pending: { group: number; bytes: Promise<LentBytes> } | null = null;

  const begin = (group: number, signal?: AbortSignal) => {
    const bytes = readGroup(groups[group], group, signal);
    bytes.catch(() => {}); // reported by the take that asks for it, or by nobody when the pass has ended
    return { group, bytes };
  };

  async function readGroup(
    entries: readonly TensorEntry[],
    group: number,
    signal?: AbortSignal,
  ): Promise<LentBytes> {
    const places: [TensorEntry, number][] = [];
    let size = 0;
    for (const entry of entries) {
      places.push([entry, size]);
      size += Math.ceil(entry.byteLength / ALIGNMENT) * ALIGNMENT;
    }
    const slot = turn;
    turn = 1 - turn;
    const held = buffers[slot];
    const buffer = held && held.byteLength >= size ? held : new ArrayBuffer(size);
    buffers[slot] = buffer;
    const found = new Map<string, Uint8Array>();
    for (const [entry, at] of places) {
      const target = new Uint8Array(buffer, at, entry.byteLength);
      await readInto(entry, target, signal);
      found.set(entry.name, target);
    }
    if (once && group === groups.length - 1) buffers[1 - slot] = null;
    return found;
  }

  return {
    async take(i, signal) {
      if (pending && pending.group !== i) {
        await pending.bytes.catch(() => {}); // its buffer must not be written to any more
        pending = null;
      }
      const current = pending ?? begin(i, signal);
      pending = null;
      const bytes = await current.bytes;
      const next = i + 1 < groups.length ? i + 1 : 0;
      if (!(once && next === 0)) pending = begin(next, signal);
      return bytes;
    },
  };
}

/** A tensor's bytes into memory that is already there. */
async function readInto(entry: TensorEntry, target: Uint8Array, signal?: AbortSignal): Promise<void> {
  const { source, begin, byteLength } = entry;
  if (byteLength === 0) return;
  if (source.readInto) await source.readInto(begin, target, signal);
  else target.set(await source.read(begin, byteLength, signal));
}
