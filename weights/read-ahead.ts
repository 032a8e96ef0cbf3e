import type { ByteSource } from './byte-source.ts';
import { checkBytes } from './checksum.ts';
import { partsOf, type TensorEntry } from './safetensors-header.ts';

/** The bytes of a group of tensors and their scales, by the name in the file. They lie in a buffer that is lent: valid until the take after the next. */
export type LentBytes = ReadonlyMap<string, Uint8Array>;

export interface ReadAhead {
  /** Group `i`. While the caller works on it, the group after it is being read. */
  take(i: number, signal?: AbortSignal): Promise<LentBytes>;
}

const ALIGNMENT = 64; // what SIMD code likes best

/**
 * Reads groups of tensors in order, one group ahead, into two buffers that take turns: disk and arithmetic overlap, and
 * memory is two groups whatever the size of the checkpoint. After the last group comes the first, for the next pass,
 * unless `once`. Bytes that have a checksum are compared with it the first time they are read.
 */
export function readAhead(
  groups: readonly (readonly TensorEntry[])[],
  { once = false }: { readonly once?: boolean } = {},
): ReadAhead {
  const buffers: [ArrayBuffer | null, ArrayBuffer | null] = [null, null];
  let turn = 0;
  const checked = new Set<number>();
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
    const runs = contiguousRuns(entries.flatMap(partsOf));
    const size = runs.reduce((sum, run) => sum + roomFor(run), 0);
    const slot = turn;
    turn = 1 - turn;
    const held = buffers[slot];
    const buffer = held && held.byteLength >= size ? held : new ArrayBuffer(size);
    buffers[slot] = buffer;
    const found = new Map<string, Uint8Array>();
    let at = 0;
    for (const run of runs) {
      const first = at + (run.begin % ALIGNMENT);
      await readInto(run, new Uint8Array(buffer, first, run.end - run.begin), signal);
      for (const entry of run.entries) {
        const bytes = new Uint8Array(buffer, first + entry.begin - run.begin, entry.byteLength);
        if (!checked.has(group)) checkBytes(entry, bytes);
        found.set(entry.name, bytes);
      }
      at += roomFor(run);
    }
    checked.add(group);
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

/** Tensors that lie one after the other in one file: read at once, which a server and a disk like better. */
type Run = {
  readonly source: ByteSource;
  readonly begin: number;
  end: number;
  readonly entries: TensorEntry[];
};

function contiguousRuns(entries: readonly TensorEntry[]): readonly Run[] {
  const runs: Run[] = [];
  for (const entry of [...entries].sort((a, b) => a.begin - b.begin)) {
    const { source, begin, byteLength } = entry;
    const open = runs.find((r) => r.source === source && r.end === begin);
    if (open) {
      open.end += byteLength;
      open.entries.push(entry);
    } else {
      runs.push({ source, begin, end: begin + byteLength, entries: [entry] });
    }
  }
  return runs;
}

// A run keeps its file's alignment, so that words that are aligned there are aligned here.
const roomFor = ({ begin, end }: Run): number =>
  Math.ceil(((begin % ALIGNMENT) + end - begin) / ALIGNMENT) * ALIGNMENT;

/** A run's bytes into memory that is already there. */
async function readInto({ source, begin }: Run, target: Uint8Array, signal?: AbortSignal): Promise<void> {
  if (target.length === 0) return;
  if (source.readInto) await source.readInto(begin, target, signal);
  else target.set(await source.read(begin, target.length, signal));
}
