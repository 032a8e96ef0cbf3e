/** Two symbols and what they become: 0 … 255 are bytes, new symbols follow. Two merges may spell the same symbol. */
export type Merge = readonly [left: number, right: number, joined: number];

/**
 * Byte-pair encoding learned from weighted words: the pair of neighbours with the largest weight becomes a symbol, again and
 * again. Words are UTF-8 bytes; no merge crosses a word. Equal weights: the pair of smaller symbols first, so that the same
 * words always give the same merges.   (Sennrich et al. 2016, algorithm 1; with counts kept up to date instead of recounted)
 *
 * @param words weight of each word; whole numbers, so that sums never drift
 * @param symbols new symbols, at most so many; fewer where no pair of `minimum` weight is left
 */
export function trainBpe(
  words: ReadonlyMap<string, number>,
  { symbols: wanted, minimum = 2 }: { readonly symbols: number; readonly minimum?: number },
  onProgress: (done: number, total: number) => void = () => {},
): readonly Merge[] {
  const encoder = new TextEncoder();
  const spelled = [...words.keys()].map((w) => Array.from(encoder.encode(w)));
  const weights = [...words.values()];
  const counts = new Map<number, number>();
  const places = new Map<number, Set<number>>(); // pair → words that hold it, or once did
  const add = (pair: number, word: number, weight: number) => {
    counts.set(pair, (counts.get(pair) ?? 0) + weight);
    const known = places.get(pair);
    if (known) known.add(word);
    else places.set(pair, new Set([word]));
  };
  spelled.forEach((s, word) => {
    for (let i = 1; i < s.length; i++) add(pairOf(s[i - 1], s[i]), word, weights[word]);
  });
  const queue = new PairQueue();
  for (const [pair, count] of counts) queue.push(pair, count);

  const merges: Merge[] = [];
  const spelling = Array.from({ length: 256 }, (_, byte) => String.fromCharCode(byte));
  const symbolOf = new Map(spelling.map((s, symbol) => [s, symbol]));
  while (spelling.length < 256 + wanted) {
    const top = queue.pop();
    if (!top || top.count < minimum) break;
    const now = counts.get(top.pair) ?? 0;
    if (now !== top.count) {
      if (now > 0) queue.push(top.pair, now); // its count fell since it was queued
      continue;
    }
    const [left, right] = symbolsOf(top.pair);
    const joinedSpelling = spelling[left] + spelling[right];
    const joined = symbolOf.get(joinedSpelling) ?? spelling.push(joinedSpelling) - 1;
    symbolOf.set(joinedSpelling, joined);
    merges.push([left, right, joined]);
    onProgress(spelling.length - 256, wanted);
    const grown = new Set<number>();
    for (const word of places.get(top.pair)!) {
      const old = spelled[word];
      const next = mergeIn(old, left, right, joined);
      if (next.length === old.length) continue;
      const weight = weights[word];
      for (let i = 1; i < old.length; i++) {
        const pair = pairOf(old[i - 1], old[i]);
        counts.set(pair, counts.get(pair)! - weight);
      }
      for (let i = 1; i < next.length; i++) {
        const pair = pairOf(next[i - 1], next[i]);
        add(pair, word, weight);
        if (next[i] === joined || next[i - 1] === joined) grown.add(pair);
      }
      spelled[word] = next;
    }
    counts.delete(top.pair);
    places.delete(top.pair);
    for (const pair of grown) queue.push(pair, counts.get(pair)!);
  }
  return merges;
}

const LIMIT = 2 ** 20; // symbols; far above any vocabulary
const pairOf = (left: number, right: number): number => left * LIMIT + right;
const symbolsOf = (pair: number): readonly [number, number] => [Math.floor(pair / LIMIT), pair % LIMIT];

function mergeIn(symbols: readonly number[], left: number, right: number, joined: number): number[] {
  const out: number[] = [];
  for (let i = 0; i < symbols.length; i++) {
    if (symbols[i] === left && symbols[i + 1] === right) {
      out.push(joined);
      i++;
    } else out.push(symbols[i]);
  }
  return out;
}

/** Largest count first, then smallest pair. Entries are not updated: the reader checks whether one still holds. */
class PairQueue {
  readonly #heap: { readonly pair: number; readonly count: number }[] = [];

  push(pair: number, count: number): void {
    const heap = this.#heap;
    heap.push({ pair, count });
    for (let i = heap.length - 1; i > 0; ) {
      const parent = (i - 1) >> 1;
      if (!before(heap[i], heap[parent])) break;
      [heap[i], heap[parent]] = [heap[parent], heap[i]];
      i = parent;
    }
  }

  pop(): { readonly pair: number; readonly count: number } | undefined {
    const heap = this.#heap;
    const top = heap[0];
    const last = heap.pop();
    if (heap.length === 0 || !last) return top;
    heap[0] = last;
    for (let i = 0; ; ) {
      const child = 2 * i + 1;
      if (child >= heap.length) break;
      const first = child + 1 < heap.length && before(heap[child + 1], heap[child]) ? child + 1 : child;
      if (!before(heap[first], heap[i])) break;
      [heap[i], heap[first]] = [heap[first], heap[i]];
      i = first;
    }
    return top;
  }
}

const before = (a: { pair: number; count: number }, b: { pair: number; count: number }): boolean =>
  a.count > b.count || (a.count === b.count && a.pair < b.pair);
