export { type ClassificationOptions, evaluateClassification, type Labelled } from './classification.ts';
export { type ClusteringOptions, evaluateClustering } from './clustering.ts';
export { pearson, spearman } from './correlation.ts';
export {
  type Encode,
  type EncodeWish,
  type EvaluationRun,
  encodeWith,
  type Item,
  type Report,
  type Score,
} from './encoder.ts';
export { type Clusters, type KMeansOptions, kMeans } from './k-means.ts';
export { accuracy, type ClusterAgreement, clusterAgreement, macroF1 } from './label-metrics.ts';
export {
  fitLogistic,
  type LogisticModel,
  type LogisticOptions,
  predictLogistic,
} from './logistic-regression.ts';
export { atSize } from './matryoshka.ts';
export { type Neighbours, predictNearest } from './nearest-neighbours.ts';
export {
  averagePrecision,
  type Judgments,
  ndcg,
  rankingMetrics,
  recall,
  reciprocalRank,
} from './ranking-metrics.ts';
export {
  evaluateRetrieval,
  type Identified,
  type RetrievalData,
  type RetrievalOptions,
} from './retrieval.ts';
export { evaluateSimilarity, type ScoredPair } from './similarity.ts';
