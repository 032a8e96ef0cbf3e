/** The geometry of the published checkpoint, as its config.json has it: for estimates without a download. */
export const PUBLISHED_CONFIG = {
  vision_start_token_id: 151652,
  vision_end_token_id: 151653,
  image_token_id: 151655,
  task_names: ['retrieval', 'text-matching', 'code'],
  matryoshka_dims: [128, 256, 512, 1024, 2048],
  multi_vector_projector_dim: 128,
  text_config: {
    hidden_size: 2048,
    num_hidden_layers: 36,
    num_attention_heads: 16,
    num_key_value_heads: 2,
    intermediate_size: 11008,
    vocab_size: 151936,
    rms_norm_eps: 1e-6,
    rope_theta: 1_000_000,
    rope_scaling: { mrope_section: [16, 24, 24] },
    hidden_act: 'silu',
    max_position_embeddings: 128_000,
    use_sliding_window: false,
  },
  vision_config: {
    depth: 32,
    hidden_size: 1280,
    num_heads: 16,
    intermediate_size: 3420,
    out_hidden_size: 2048,
    fullatt_block_indexes: [7, 15, 23, 31],
    window_size: 112,
    patch_size: 14,
    temporal_patch_size: 2,
    spatial_merge_size: 2,
    in_channels: 3,
    hidden_act: 'silu',
  },
} as const;

/** One LoRA a task. */
export const PUBLISHED_ADAPTERS = { count: 3, rank: 32 } as const;
