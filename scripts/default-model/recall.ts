import { dotsAt, normsAt } from '../../src/evaluate/matryoshka.ts';
import type { JinaEmbeddings } from '../../src/platform/node.ts';
import { drawView, PLAIN_VIEW } from './augment.ts';
import type { Drawings } from './drawings.ts';
import type { Probe, RetrievalSet } from './evaluation-sets.ts';
import { IMAGE_SIZE } from './geometry.ts';

/** Full-size vectors of probes, each computed once an adapter. */
export function vectorSource(jina: JinaEmbeddings, drawings: Drawings, onProgress: (done: number) => void) {
  const known = new Map<string, Float32Array>();
  let done = 0;
  return async (
    probes: readonly Probe[],
    task: string | null,
    promptName: 'query' | 'passage',
  ): Promise<readonly Float32Array[]> => {
    const keyOf = (p: Probe) =>
      'text' in p ? `${task} ${promptName} ${p.text}` : `${task} ${p.style}/${p.emoji}`;
    const missing = new Map(probes.filter((p) => !known.has(keyOf(p))).map((p) => [keyOf(p), p]));
    const inputs = [...missing.values()].map((p) => {
      if ('text' in p) return p.text;
      const { width, height, data } = drawView(drawings.of(p.style, p.emoji)!, PLAIN_VIEW, IMAGE_SIZE);
      return { image: { width, height, channels: 3 as const, data } };
    });
    if (inputs.length === 0) return probes.map((p) => known.get(keyOf(p)) as Float32Array);
    const vectors = (await jina.encode(inputs, {
      task,
      promptName,
      batchSize: 256,
      tokenBudget: 4096,
      truncateDim: null,
    })) as readonly Float32Array[];
    [...missing.keys()].forEach((key, i) => {
      known.set(key, vectors[i]);
    });
    done += inputs.length;
    onProgress(done);
    return probes.map((p) => known.get(keyOf(p)) as Float32Array);
  };
}

export type Recall = { readonly r1: number; readonly r5: number; readonly r10: number };

/** Mean cosine of queries with a relevant document of theirs, and with those that are not. */
export type Cosines = { readonly matching: number; readonly other: number };

/**
 * Share of queries with a relevant document among the first 1, 5 and 10, at every size; cosines at the last, as are `means`: the mean
 * of the three for each query by itself.
 */
export function recallAt(
  queries: readonly Float32Array[],
  documents: readonly Float32Array[],
  relevant: RetrievalSet['relevant'],
  sizes: readonly number[],
): { readonly recall: readonly Recall[]; readonly cosines: Cosines; readonly means: readonly number[] } {
  const norms = documents.map((d) => normsAt(d, sizes));
  const last = sizes.length - 1;
  const found = sizes.map(() => [0, 0, 0]);
  const means = queries.map(() => 0);
  const sums = { matching: 0, other: 0 };
  const counts = { matching: 0, other: 0 };
  queries.forEach((query, q) => {
    const length = normsAt(query, sizes)[last];
    const cosines = documents.map((d, j) => dotsAt(query, d, sizes).map((dot, s) => dot / norms[j][s]));
    const wanted = new Set(relevant[q]);
    cosines.forEach((c, j) => {
      const kind = wanted.has(j) ? 'matching' : 'other';
      sums[kind] += c[last] / length;
      counts[kind]++;
    });
    sizes.forEach((_, s) => {
      const best = Math.max(...relevant[q].map((j) => cosines[j][s]));
      let before = 0; // documents ahead of the best relevant one
      cosines.forEach((c, j) => {
        if (c[s] > best && !wanted.has(j)) before++;
      });
      [1, 5, 10].forEach((k, i) => {
        if (before >= k) return;
        found[s][i]++;
        if (s === last) means[q] += 1 / 3;
      });
    });
  });
  const recall = found.map((f) => {
    const [r1, r5, r10] = f.map((n) => n / queries.length);
    return { r1, r5, r10 };
  });
  return {
    recall,
    means,
    cosines: { matching: sums.matching / counts.matching, other: sums.other / counts.other },
  };
}
