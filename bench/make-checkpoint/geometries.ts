import { InputError } from '../../src/errors.ts';

/** A shape of the model, and what its checkpoint carries besides. Sizes in channels, rows and blocks. */
export type Geometry = {
  readonly hidden: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly mlp: number;
  /** Rows of the embedding table; `tokenizer`: as many as the tokenizer needs, rounded up to 64. */
  readonly vocab: number | 'tokenizer';
  readonly vision: {
    readonly depth: number;
    readonly hidden: number;
    readonly mlp: number;
    readonly heads: number;
    readonly fullatt: readonly number[];
  };
  readonly matryoshka: readonly number[];
  readonly projector: number;
  readonly maxPixels: number;
  readonly lora: { readonly rank: number; readonly activation: 'none' | 'relu' };
};

const TOWER = { depth: 32, hidden: 1280, mlp: 3420, heads: 16, fullatt: [7, 15, 23, 31] };

const LARGE = {
  vision: TOWER,
  matryoshka: [128, 256, 512, 1024, 2048],
  projector: 128,
  maxPixels: 602112, // 768 visual tokens of 28 × 28
  lora: { rank: 32, activation: 'none' },
} as const;

/** By name: the published model, the next larger of its family, the design card's, and two that fit anywhere. */
export const GEOMETRIES: Readonly<Record<string, Geometry>> = {
  published: { ...LARGE, hidden: 2048, layers: 36, heads: 16, kvHeads: 2, mlp: 11008, vocab: 151936 },
  'qwen2.5-vl-7b': { ...LARGE, hidden: 3584, layers: 28, heads: 28, kvHeads: 4, mlp: 18944, vocab: 152064 },
  'design-card': {
    ...LARGE,
    hidden: 4096,
    layers: 28,
    heads: 32,
    kvHeads: 32,
    mlp: 14336,
    vocab: 151936,
    lora: { rank: 64, activation: 'relu' },
  },
  small: {
    hidden: 128,
    layers: 4,
    heads: 4,
    kvHeads: 2,
    mlp: 384,
    vocab: 'tokenizer',
    vision: { depth: 4, hidden: 64, mlp: 128, heads: 4, fullatt: [1, 3] },
    matryoshka: [16, 32, 64, 128],
    projector: 32,
    maxPixels: 50176, // 64 visual tokens
    lora: { rank: 4, activation: 'none' },
  },
  tiny: {
    hidden: 64,
    layers: 3,
    heads: 4,
    kvHeads: 2,
    mlp: 96,
    vocab: 'tokenizer',
    vision: { depth: 4, hidden: 32, mlp: 44, heads: 2, fullatt: [1, 3] },
    matryoshka: [16, 32, 64],
    projector: 16,
    maxPixels: 50176,
    lora: { rank: 4, activation: 'none' },
  },
};

/** `InputError` with the names there are, when there is none of this name. */
export function geometryNamed(name: string): Geometry {
  if (Object.hasOwn(GEOMETRIES, name)) return GEOMETRIES[name];
  throw new InputError(
    `there is no geometry "${name}"; the names are ${Object.keys(GEOMETRIES).join(', ')}, ` +
      'or give the path of a config.json that ends in .json',
  );
}

/** `config.json` of a geometry, in the published form. Token ids are filled in from the tokenizer. */
export function geometryConfig(g: Geometry, vocabularyOf: number) {
  const headDim = g.hidden / g.heads;
  // The published sections are 16, 24, 24 of 64: a quarter to time, the rest halved between height and width.
  const temporal = Math.floor(headDim / 8);
  const height = Math.floor((headDim / 2 - temporal) / 2);
  const { vision } = g;
  return {
    architectures: ['JinaEmbeddingsV4Model'],
    model_type: 'qwen2_5_vl',
    matryoshka_dims: g.matryoshka,
    truncate_dim: null,
    single_vector_pool_strategy: 'mean',
    multi_vector_projector_dim: g.projector,
    tie_word_embeddings: true,
    text_config: {
      model_type: 'qwen2_5_vl_text',
      hidden_size: g.hidden,
      num_hidden_layers: g.layers,
      num_attention_heads: g.heads,
      num_key_value_heads: g.kvHeads,
      intermediate_size: g.mlp,
      vocab_size: g.vocab === 'tokenizer' ? Math.ceil(vocabularyOf / 64) * 64 : g.vocab,
      rms_norm_eps: 1e-6,
      rope_theta: 1000000,
      rope_scaling: { type: 'mrope', mrope_section: [temporal, height, headDim / 2 - temporal - height] },
      hidden_act: 'silu',
      max_position_embeddings: 128000,
      use_sliding_window: false,
      sliding_window: 32768,
      max_window_layers: 70,
      tie_word_embeddings: true,
    },
    vision_config: {
      model_type: 'qwen2_5_vl',
      depth: vision.depth,
      hidden_size: vision.hidden,
      intermediate_size: vision.mlp,
      num_heads: vision.heads,
      out_hidden_size: g.hidden,
      fullatt_block_indexes: vision.fullatt,
      window_size: 112,
      patch_size: 14,
      spatial_patch_size: 14,
      spatial_merge_size: 2,
      temporal_patch_size: 2,
      in_channels: 3,
      tokens_per_second: 2,
      hidden_act: 'silu',
    },
    torch_dtype: 'bfloat16',
  };
}
