import type { Settings } from '../config.ts';
import { InputError } from '../errors.ts';
import type { Labelled } from './classification.ts';
import { type EvaluationRun, embedVectors, type Report, type Score, startRun } from './encoder.ts';
import { checkClusters, kMeans } from './k-means.ts';
import { clusterAgreement } from './label-metrics.ts';
import { atSize } from './matryoshka.ts';
import { filesFirst } from './places.ts';

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
  checkClustering(items, clusters);
  const run = startRun(options, items.length);
  const scores: Score[] = [];
  for (const task of run.adapters) {
    const vectors = await embedVectors(run, items, { task, promptName });
    for (const size of run.sizes) {
      const cut = vectors.map((v) => atSize(v, size));
      const { assignment } = await kMeans(cut, { k, seed, restarts, turn: run.turn });
      scores.push({ adapter: task, size, metrics: { ...clusterAgreement([...assignment], labels) } });
    }
  }
  const counts = { items: items.length, labels: kinds, clusters: k, seed, restarts };
  return { task: 'clustering', multivector: false, counts, scores };
}

/** @throws InputError for more clusters than items, and for items of one label: every clustering agrees with it as well */
export function checkClustering(items: readonly Labelled[], clusters?: number): void {
  const kinds = new Set(items.map(({ label }) => label)).size;
  checkClusters(clusters ?? kinds, items.length, filesFirst(items));
  if (kinds > 1) return;
  throw new InputError(
    `${filesFirst(items)}all ${items.length} items have the label ${JSON.stringify(items[0].label)}; ` +
      'clusters are compared with labels, of which there must be two or more',
  );
}
