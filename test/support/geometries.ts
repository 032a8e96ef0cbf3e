import { parseModelConfig } from '../../src/model-config.ts';

type Geometry = {
  hidden: number;
  layers: number;
  heads: number;
  kvHeads: number;
  mlp: number;
  vocab?: number;
  vision?: { depth: number; hidden: number; mlp: number; heads: number; fullatt: number[] };
};

const VISION = { depth: 32, hidden: 1280, mlp: 3420, heads: 16, fullatt: [7, 15, 23, 31] };

/** `config.json` of a geometry, in the published form. */
export function configJson({
  hidden,
  layers,
  heads,
  kvHeads,
  mlp,
  vocab = 151936,
  vision = VISION,
}: Geometry) {
  const special = Math.min(vocab, 151657) - 5; // control tokens stand at the end of a small vocabulary
  const headDim = hidden / heads;
  const temporal = Math.floor(headDim / 8);
  const rest = headDim / 2 - temporal;
  return {
    architectures: ['JinaEmbeddingsV4Model'],
    model_type: 'qwen2_5_vl',
    vision_start_token_id: special,
    vision_end_token_id: special + 1,
    vision_token_id: special + 2,
    image_token_id: special + 3,
    task_names: ['retrieval', 'text-matching', 'code'],
    matryoshka_dims: [128, 256, 512, 1024, 2048].filter((d) => d <= hidden),
    truncate_dim: null,
    multi_vector_projector_dim: 128,
    text_config: {
      hidden_size: hidden,
      num_hidden_layers: layers,
      num_attention_heads: heads,
      num_key_value_heads: kvHeads,
      intermediate_size: mlp,
      vocab_size: vocab,
      rms_norm_eps: 1e-6,
      rope_theta: 1000000,
      rope_scaling: { type: 'mrope', mrope_section: [temporal, Math.floor(rest / 2), Math.ceil(rest / 2)] },
      hidden_act: 'silu',
      max_position_embeddings: 128000,
      use_sliding_window: false,
    },
    vision_config: {
      depth: vision.depth,
      hidden_size: vision.hidden,
      intermediate_size: vision.mlp,
      num_heads: vision.heads,
      out_hidden_size: hidden,
      fullatt_block_indexes: vision.fullatt,
      window_size: 112,
      patch_size: 14,
      spatial_merge_size: 2,
      temporal_patch_size: 2,
      in_channels: 3,
      hidden_act: 'silu',
    },
  };
}

/** The published model, Qwen2.5-VL-7B, and the model of the project's design card. */
export const GEOMETRIES = {
  published: { hidden: 2048, layers: 36, heads: 16, kvHeads: 2, mlp: 11008 },
  'Qwen2.5-VL-7B': { hidden: 3584, layers: 28, heads: 28, kvHeads: 4, mlp: 18944, vocab: 152064 },
  'design card': { hidden: 4096, layers: 28, heads: 32, kvHeads: 32, mlp: 14336 },
} as const;

export const geometryConfig = (g: Geometry) => parseModelConfig(configJson(g));

/** The same proportions of heads and groups, small enough to run: heads of 16, a few blocks. */
export const narrowed = ({ heads, kvHeads }: { heads: number; kvHeads: number }): Geometry => ({
  hidden: heads * 16,
  layers: 2,
  heads,
  kvHeads,
  mlp: 48,
  vocab: 600,
  vision: { depth: 3, hidden: 32, mlp: 44, heads: 2, fullatt: [1] },
});
