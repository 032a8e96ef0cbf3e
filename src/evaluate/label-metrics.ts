/** Part of the predictions that are right. */
export const accuracy = (predicted: readonly string[], truth: readonly string[]): number =>
  truth.reduce((n, label, i) => n + (predicted[i] === label ? 1 : 0), 0) / truth.length;

/**
 * The F1 of every label, averaged with equal weight. Labels are those that occur in either list; one that is never both
 * predicted and true has an F1 of 0. (sklearn.metrics.f1_score, average='macro')
 */
export function macroF1(predicted: readonly string[], truth: readonly string[]): number {
  const [guesses, truths] = [tally(predicted), tally(truth)];
  const right = tally(truth.filter((label, i) => predicted[i] === label));
  const labels = [...new Set([...predicted, ...truth])];
  const f1 = labels.map((l) => (2 * (right.get(l) ?? 0)) / ((guesses.get(l) ?? 0) + (truths.get(l) ?? 0)));
  return f1.reduce((sum, v) => sum + v, 0) / labels.length;
}

export type ClusterAgreement = {
  /** 1 where every cluster holds one label only. */
  readonly homogeneity: number;
  /** 1 where every label lies in one cluster. */
  readonly completeness: number;
  /** Their harmonic mean. */
  readonly vMeasure: number;
};

/** How well clusters agree with labels. (Rosenberg and Hirschberg 2007; sklearn.metrics.homogeneity_completeness_v_measure) */
export function clusterAgreement(
  clusters: readonly (string | number)[],
  labels: readonly string[],
): ClusterAgreement {
  const n = labels.length;
  const [ofLabel, ofCluster] = [tally(labels), tally(clusters)];
  const both = tally(labels.map((label, i) => JSON.stringify([label, clusters[i]])));
  let information = 0;
  for (const [pair, count] of both) {
    const [label, cluster] = JSON.parse(pair) as [string, string | number];
    const byChance = ((ofLabel.get(label) as number) * (ofCluster.get(cluster) as number)) / n;
    information += (count / n) * Math.log(count / byChance);
  }
  const part = (entropy: number) => (entropy === 0 ? 1 : Math.max(0, Math.min(1, information / entropy)));
  const [homogeneity, completeness] = [part(entropyOf(ofLabel, n)), part(entropyOf(ofCluster, n))];
  const sum = homogeneity + completeness;
  return { homogeneity, completeness, vMeasure: sum === 0 ? 0 : (2 * homogeneity * completeness) / sum };
}

function tally<T>(items: readonly T[]): ReadonlyMap<T, number> {
  const counts = new Map<T, number>();
  for (const item of items) counts.set(item, (counts.get(item) ?? 0) + 1);
  return counts;
}

const entropyOf = (counts: ReadonlyMap<unknown, number>, n: number): number =>
  [...counts.values()].reduce((sum, count) => sum - (count / n) * Math.log(count / n), 0);
