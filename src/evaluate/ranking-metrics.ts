/** How relevant each judged document is to one query; documents that are not here were not judged, and count as 0. */
export type Judgments = ReadonlyMap<string, number>;

export const RANKING_CUTOFFS: readonly number[] = [1, 5, 10, 100];

/**
 * DCG of the first `k`, divided by that of the best possible order. Gain is the judgment itself, discount log₂(rank + 1).
 * NaN without a relevant document. (trec_eval: m_ndcg_cut.c; Järvelin and Kekäläinen 2002)
 */
export function ndcg(ranked: readonly string[], judged: Judgments, k: number): number {
  const ideal = [...judged.values()].filter((gain) => gain > 0).sort((a, b) => b - a);
  const found = ranked.slice(0, k).map((id) => Math.max(0, judged.get(id) ?? 0));
  return ideal.length === 0 ? NaN : discounted(found) / discounted(ideal.slice(0, k));
}

/** Part of the relevant documents that are among the first `k`. NaN without a relevant document. (trec_eval: m_recall.c) */
export function recall(ranked: readonly string[], judged: Judgments, k: number): number {
  return hits(ranked.slice(0, k), judged) / relevantCount(judged);
}

/** 1 / rank of the first relevant document, 0 where none was found. NaN without one. (trec_eval: m_recip_rank.c) */
export function reciprocalRank(ranked: readonly string[], judged: Judgments): number {
  if (relevantCount(judged) === 0) return NaN;
  const first = ranked.findIndex((id) => isRelevant(judged, id));
  return first < 0 ? 0 : 1 / (first + 1);
}

/** Precision at the rank of each relevant document, averaged over all of them, found or not. (trec_eval: m_map.c) */
export function averagePrecision(ranked: readonly string[], judged: Judgments): number {
  let found = 0;
  let sum = 0;
  ranked.forEach((id, rank) => {
    if (isRelevant(judged, id)) sum += ++found / (rank + 1);
  });
  return sum / relevantCount(judged);
}

/**
 * All of them, by the names that reports use: `ndcg@10`, `recall@1`, …, `mrr`, `map`. The last two look at everything that
 * was ranked. Every value is NaN for a query without a relevant document: no ranking of it is better than another.
 */
export function rankingMetrics(
  ranked: readonly string[],
  judged: Judgments,
  cutoffs: readonly number[] = RANKING_CUTOFFS,
): Readonly<Record<string, number>> {
  return {
    'ndcg@10': ndcg(ranked, judged, 10),
    ...Object.fromEntries(cutoffs.map((k) => [`recall@${k}`, recall(ranked, judged, k)])),
    mrr: reciprocalRank(ranked, judged),
    map: averagePrecision(ranked, judged),
  };
}

const isRelevant = (judged: Judgments, id: string): boolean => (judged.get(id) ?? 0) > 0;

export const relevantCount = (judged: Judgments): number =>
  [...judged.values()].reduce((n, gain) => n + (gain > 0 ? 1 : 0), 0);

const hits = (ids: readonly string[], judged: Judgments): number =>
  ids.reduce((n, id) => n + (isRelevant(judged, id) ? 1 : 0), 0);

const discounted = (gains: readonly number[]): number =>
  gains.reduce((sum, gain, rank) => sum + gain / Math.log2(rank + 2), 0);
