/** Whose terms apply to what. Told wherever a model is described. */
export const LICENCE =
  'code: Apache-2.0. Weights have their own: the published jina-embeddings-v4 is under the Qwen Research License / ' +
  "CC-BY-NC-4.0 (not for commercial use); read the model's page before you use it";
