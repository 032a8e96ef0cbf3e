import type { Settings } from '../config.ts';
import type { Labelled } from './classification.ts';
import { type EvaluationRun, embedVectors, type Report, type Score, startRun } from './encoder.ts';
import { checkClusters, kMeans } from './k-means.ts';
import { clusterAgreement } from './label-metrics.ts';
import { atSize } from './matryoshka.ts';

export type ClusteringOptions = {
  readonly promptName?: Settings['promptName'];
  /** Clusters to form. Default: as many as there are labels. */
  readonly clusters?: number;
  /** Default 0. */
  readonly seed?: number;
  /** Beginnings of which the best counts. Default 10. */
  readonly restarts?: number;
};

/** Whether items that belong together lie together: k-means on frozen embeddings, compared with labels it never sees. */
export async function evaluateClustering(
  items: readonly Labelled[],
  options: EvaluationRun,
  { promptName = 'query', clusters, seed = 0, restarts = 10 }: ClusteringOptions = {},
): Promise<Report> {
  const labels = items.map(({ label }) => label);
  const kinds = new Set(labels).size;
  const k = clusters ?? kinds;
  checkClusters(k, items.length);
  const run = startRun(options, items.length);
  const scores: Score[] = [];
  for (const task of run.adapters) {
    const all = items.map(({ item }) => item);
    const vectors = await embedVectors(run, all, { task, promptName });
    for (const size of run.sizes) {
      const cut = vectors.map((v) => atSize(v, size));
      const { assignment } = await kMeans(cut, { k, seed, restarts, turn: run.turn });
      scores.push({ adapter: task, size, metrics: { ...clusterAgreement([...assignment], labels) } });
    }
  }
  const counts = { items: items.length, labels: kinds, clusters: k, seed, restarts };
  return { task: 'clustering', multivector: false, counts, scores };
}
