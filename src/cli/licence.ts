/** Whose terms apply to what. Told wherever a model is described. */
export const LICENCE: readonly (readonly [what: string, terms: string])[] = [
  ['this code', 'Apache-2.0'],
  [
    'published weights',
    "Qwen Research License / CC-BY-NC-4.0, not for commercial use; check the model's page before you use them",
  ],
];
