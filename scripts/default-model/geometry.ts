import { type Geometry, geometryConfig } from '../../bench/make-checkpoint/geometries.ts';

/** Side of a picture in training: 16 patches, 4 visual tokens. Larger pictures are resized down to its area. */
export const IMAGE_SIZE = 56;

export const MATRYOSHKA = [10, 20, 40, 80, 160] as const;

/** Few enough weights to ship (13 MB in bfloat16): two thirds are the embedding table. */
const GEOMETRY: Geometry = {
  hidden: 160,
  layers: 4,
  heads: 5,
  kvHeads: 1,
  mlp: 448,
  vocab: 'tokenizer',
  vision: { depth: 4, hidden: 128, mlp: 344, heads: 4, fullatt: [1, 3] },
  matryoshka: MATRYOSHKA,
  projector: 64,
  maxPixels: IMAGE_SIZE ** 2,
  lora: { rank: 16, activation: 'none' },
};

export const WIDTH = GEOMETRY.hidden;
export const TASKS = ['retrieval', 'classification', 'clustering'] as const;
export type Task = (typeof TASKS)[number];
export const LORA_RANK = GEOMETRY.lora.rank;

/** `config.json` of the default model, for a tokenizer of so many tokens whose control tokens have these ids. */
export const defaultConfig = (
  tokens: number,
  idOf: (control: string) => number,
): Record<string, unknown> => ({
  ...geometryConfig(GEOMETRY, tokens),
  task_names: TASKS,
  vision_start_token_id: idOf('<|vision_start|>'),
  vision_end_token_id: idOf('<|vision_end|>'),
  vision_token_id: idOf('<|vision_pad|>'),
  image_token_id: idOf('<|image_pad|>'),
});
