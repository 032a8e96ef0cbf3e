import { CheckpointError } from './errors.ts';
import { JsonReader } from './json.ts';

/** The vision tower, from `vision_config`. Sizes in channels, windows in pixels, as in the file. */
export type VisionConfig = {
  readonly depth: number;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly numHeads: number;
  readonly outHiddenSize: number;
  readonly fullattBlockIndexes: readonly number[];
  readonly windowSize: number;
  readonly patchSize: number;
  readonly temporalPatchSize: number;
  readonly spatialMergeSize: number;
  readonly inChannels: number;
  /** inChannels · temporalPatchSize · patchSize²: values a patch. */
  readonly patchValues: number;
  readonly headDim: number;
};

/** The text decoder, from `text_config` (or the root of older configs). */
export type DecoderConfig = {
  readonly hiddenSize: number;
  readonly numHiddenLayers: number;
  readonly numAttentionHeads: number;
  readonly numKeyValueHeads: number;
  readonly headDim: number;
  readonly intermediateSize: number;
  readonly vocabSize: number;
  readonly rmsNormEps: number;
  readonly ropeTheta: number;
  /** How many of the headDim/2 frequencies read the temporal, height and width position: contiguous sections. */
  readonly mropeSection: readonly number[];
  readonly maxPositionEmbeddings: number;
};

export type TokenIds = {
  readonly visionStart: number;
  readonly visionEnd: number;
  readonly image: number;
};

/** Everything about the model that the checkpoint decides. Parsed once, frozen, no silent defaults. */
export type ModelConfig = {
  readonly vision: VisionConfig;
  readonly decoder: DecoderConfig;
  readonly tokens: TokenIds;
  readonly taskNames: readonly string[];
  readonly matryoshkaDims: readonly number[];
  readonly truncateDim: number | null;
  readonly multiVectorProjectorDim: number;
};

/** `config.json` of a checkpoint → ModelConfig. `CheckpointError` names the key that is missing or does not add up. */
export function parseModelConfig(json: unknown, where = 'config.json'): ModelConfig {
  const root = new JsonReader(json, where);
  const decoder = parseDecoderConfig(root.has('text_config') ? root.section('text_config') : root);
  const vision = parseVisionConfig(root.section('vision_config'));
  if (vision.outHiddenSize !== decoder.hiddenSize) {
    throw new CheckpointError(
      `${where}: the vision tower gives ${vision.outHiddenSize} channels (out_hidden_size), ` +
        `the decoder takes ${decoder.hiddenSize} (hidden_size); they must be equal`,
    );
  }
  const matryoshkaDims = root.numbers('matryoshka_dims');
  const misfit = matryoshkaDims.find((d) => !Number.isInteger(d) || d < 1 || d > decoder.hiddenSize);
  if (misfit !== undefined) {
    throw root.wrong('matryoshka_dims', `whole numbers up to hidden_size ${decoder.hiddenSize}`, misfit);
  }
  return Object.freeze({
    vision,
    decoder,
    tokens: Object.freeze({
      visionStart: root.id('vision_start_token_id'),
      visionEnd: root.id('vision_end_token_id'),
      // Trap: vision_token_id is the unused <|vision_pad|>; the placeholder that receives image features is this one.
      image: root.id('image_token_id'),
    }),
    taskNames: root.words('task_names'),
    matryoshkaDims,
    truncateDim: root.has('truncate_dim') ? root.size('truncate_dim') : null,
    multiVectorProjectorDim: root.size('multi_vector_projector_dim'),
  });
}

function parseDecoderConfig(text: JsonReader): DecoderConfig {
  const hiddenSize = text.size('hidden_size');
  const numAttentionHeads = text.size('num_attention_heads');
  const numKeyValueHeads = text.size('num_key_value_heads');
  const headDim = text.has('head_dim') ? text.size('head_dim') : hiddenSize / numAttentionHeads;
  text.oneOf('hidden_act', ['silu']);
  if (!Number.isInteger(headDim) || headDim % 2 !== 0) {
    throw text.wrong(
      'num_attention_heads',
      `a divisor of hidden_size ${hiddenSize}, with even heads`,
      numAttentionHeads,
    );
  }
  if (numAttentionHeads % numKeyValueHeads !== 0) {
    throw text.wrong(
      'num_key_value_heads',
      `a divisor of num_attention_heads ${numAttentionHeads}`,
      numKeyValueHeads,
    );
  }
  if (text.json.use_sliding_window === true) {
    throw text.wrong('use_sliding_window', 'false (sliding windows are not part of this model)', true);
  }
  const mropeSection = text.section('rope_scaling').numbers('mrope_section');
  const sum = mropeSection.reduce((a, b) => a + b, 0);
  if (mropeSection.length !== 3 || sum !== headDim / 2) {
    throw text.wrong(
      'rope_scaling.mrope_section',
      `3 numbers that sum to ${headDim / 2} (head_dim / 2)`,
      mropeSection,
    );
  }
  return Object.freeze({
    hiddenSize,
    numHiddenLayers: text.size('num_hidden_layers'),
    numAttentionHeads,
    numKeyValueHeads,
    headDim,
    intermediateSize: text.size('intermediate_size'),
    vocabSize: text.size('vocab_size'),
    rmsNormEps: text.number('rms_norm_eps'),
    ropeTheta: text.number('rope_theta'),
    mropeSection,
    maxPositionEmbeddings: text.size('max_position_embeddings'),
  });
}

function parseVisionConfig(vision: JsonReader): VisionConfig {
  const hiddenSize = vision.size('hidden_size');
  const numHeads = vision.size('num_heads');
  const headDim = hiddenSize / numHeads;
  // Two axes share a head, and each needs pairs of channels.
  if (!Number.isInteger(headDim) || headDim % 4 !== 0) {
    throw vision.wrong(
      'num_heads',
      `a divisor of hidden_size ${hiddenSize} that leaves heads of 4·n`,
      numHeads,
    );
  }
  vision.oneOf('hidden_act', ['silu']);
  const depth = vision.size('depth');
  const fullattBlockIndexes = vision.numbers('fullatt_block_indexes');
  const stray = fullattBlockIndexes.find((i) => !Number.isInteger(i) || i < 0 || i >= depth);
  if (stray !== undefined) throw vision.wrong('fullatt_block_indexes', `block numbers below ${depth}`, stray);
  const patchSize = vision.size('patch_size');
  const temporalPatchSize = vision.size('temporal_patch_size');
  const spatialMergeSize = vision.size('spatial_merge_size');
  const windowSize = vision.size('window_size');
  if (windowSize % (patchSize * spatialMergeSize) !== 0) {
    throw vision.wrong(
      'window_size',
      `a multiple of ${patchSize * spatialMergeSize} (one merged block)`,
      windowSize,
    );
  }
  const inChannels = vision.size('in_channels', 'in_chans');
  return Object.freeze({
    depth,
    hiddenSize,
    intermediateSize: vision.size('intermediate_size'),
    numHeads,
    outHiddenSize: vision.size('out_hidden_size'),
    fullattBlockIndexes,
    windowSize,
    patchSize,
    temporalPatchSize,
    spatialMergeSize,
    inChannels,
    patchValues: inChannels * temporalPatchSize * patchSize * patchSize,
    headDim,
  });
}
