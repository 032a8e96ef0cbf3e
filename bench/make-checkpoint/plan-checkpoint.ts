import { readFile } from 'node:fs/promises';
import { InputError } from '../../src/errors.ts';
import { parseModelConfig } from '../../src/model-config.ts';
import { modelSpec } from '../../src/params.ts';
import { type Geometry, geometryConfig, geometryNamed } from './geometries.ts';
import type { WeightDtype } from './random-values.ts';
import {
  adapterTensors,
  byName,
  modelTensors,
  type PlannedFile,
  shardFiles,
  shardIndex,
} from './tensor-plan.ts';
import { byteLevelTokenizer, tokenizerConfig, tokenizerFacts } from './tokenizer-files.ts';

/** Which checkpoint. What is not given is as the geometry has it. */
export type CheckpointChoices = {
  /** A name (`published`, `qwen2.5-vl-7b`, `design-card`, `small`, `tiny`) or the path of a config.json. Default `published`. */
  readonly geometry?: string;
  /** Decoder and vision blocks, instead of the geometry's. */
  readonly layers?: number;
  readonly visionDepth?: number;
  /** Default 1. The same seed gives the same bytes. */
  readonly seed?: number;
  /** Default BF16. */
  readonly dtype?: WeightDtype;
  /** Bytes of tensors in a file, at most. Default 5 GB, which splits the published geometry where its publisher did. */
  readonly shardSize?: number;
  readonly rank?: number;
  /** Default retrieval, text-matching, code. */
  readonly tasks?: readonly string[];
  /** Default true. */
  readonly adapters?: boolean;
  /** Path of a tokenizer.json of the Qwen2-VL kind. Default `byte-level`. */
  readonly tokenizer?: string;
};

/** Everything that will be in the folder. */
export type PlannedCheckpoint = {
  readonly textFiles: readonly { readonly path: string; readonly text: string }[];
  readonly tensorFiles: readonly PlannedFile[];
};

/** Choices → files. Reads a tokenizer or config where one is named, writes nothing, allocates no weights. */
export async function planCheckpoint(choices: CheckpointChoices): Promise<PlannedCheckpoint> {
  const { tokenizer = 'byte-level', tasks = ['retrieval', 'text-matching', 'code'] } = choices;
  const { dtype = 'BF16', shardSize = 5e9, adapters = true } = choices;
  if (!(shardSize > 0)) throw new InputError(`the shard size must be above 0, got ${shardSize}`);
  const tokenizerText =
    tokenizer === 'byte-level' ? pretty(byteLevelTokenizer()) : await readFile(tokenizer, 'utf8');
  const facts = tokenizerFacts(JSON.parse(tokenizerText), tokenizer);
  const { json, maxPixels, lora } = await geometryOf(choices.geometry ?? 'published', facts.size);
  const config = withChoices({ ...json, ...facts.ids, task_names: tasks, random_weights: true }, choices);
  const modelConfig = parseModelConfig(config, choices.geometry);
  if (facts.size > modelConfig.decoder.vocabSize) {
    throw new InputError(
      `${tokenizer} gives ids up to ${facts.size - 1}, the geometry has vocab_size ${modelConfig.decoder.vocabSize}`,
    );
  }
  const spec = modelSpec(modelConfig);
  const rank = choices.rank ?? lora.rank;
  const models = shardFiles(modelTensors(spec, modelConfig, dtype), shardSize);
  const adapterFile: PlannedFile = {
    path: 'adapters/adapter_model.safetensors',
    tensors: byName(adapterTensors(spec, modelConfig, { rank, tasks, dtype })),
  };
  return {
    textFiles: [
      { path: 'config.json', text: pretty(config) },
      { path: 'preprocessor_config.json', text: pretty(preprocessorConfig(maxPixels)) },
      { path: 'tokenizer.json', text: tokenizerText },
      { path: 'tokenizer_config.json', text: pretty(tokenizerConfig()) },
      ...(models.length > 1
        ? [{ path: 'model.safetensors.index.json', text: pretty(shardIndex(models)) }]
        : []),
      ...(adapters
        ? [{ path: 'adapters/adapter_config.json', text: pretty(adapterConfig(rank, lora.activation)) }]
        : []),
    ],
    tensorFiles: adapters ? [...models, adapterFile] : models,
  };
}

const pretty = (json: unknown): string => `${JSON.stringify(json, null, 1)}\n`;

type Shape = { readonly json: object } & Pick<Geometry, 'maxPixels' | 'lora'>;

/** A geometry by name, or `config.json` of any checkpoint as it stands. */
async function geometryOf(name: string, vocabularyOf: number): Promise<Shape> {
  if (!name.endsWith('.json')) {
    const g = geometryNamed(name);
    return { json: geometryConfig(g, vocabularyOf), maxPixels: g.maxPixels, lora: g.lora };
  }
  const { maxPixels, lora } = geometryNamed('published');
  return { json: JSON.parse(await readFile(name, 'utf8')) as object, maxPixels, lora };
}

type ConfigJson = Record<string, unknown> & {
  readonly text_config?: object;
  readonly vision_config?: { readonly depth?: number; readonly fullatt_block_indexes?: readonly number[] };
};

function withChoices(json: ConfigJson, { layers, visionDepth }: CheckpointChoices): ConfigJson {
  const { vision_config: tower = {} } = json;
  const some = tower.fullatt_block_indexes?.filter((i) => i < (visionDepth ?? Infinity)) ?? [];
  return {
    ...json,
    ...(layers !== undefined && { text_config: { ...json.text_config, num_hidden_layers: layers } }),
    ...(visionDepth !== undefined && {
      vision_config: {
        ...tower,
        depth: visionDepth,
        // A tower without full attention would be another model: a short one has it in its last block.
        fullatt_block_indexes: some.length > 0 ? some : [visionDepth - 1],
      },
    }),
  };
}

export const preprocessorConfig = (maxPixels: number) => ({
  min_pixels: 3136,
  max_pixels: maxPixels,
  patch_size: 14,
  temporal_patch_size: 2,
  merge_size: 2,
  image_mean: [0.48145466, 0.4578275, 0.40821073],
  image_std: [0.26862954, 0.26130258, 0.27577711],
  image_processor_type: 'Qwen2VLImageProcessorFast',
  do_resize: true,
  do_rescale: true,
  rescale_factor: 1 / 255,
  do_normalize: true,
  do_convert_rgb: true,
  resample: 3,
  size: { shortest_edge: 3136, longest_edge: maxPixels },
});

const adapterConfig = (rank: number, activation: 'none' | 'relu') => ({
  peft_type: 'LORA',
  task_type: 'FEATURE_EXTRACTION',
  r: rank,
  lora_alpha: rank,
  lora_dropout: 0.1,
  bias: 'none',
  use_rslora: false,
  use_dora: false,
  fan_in_fan_out: false,
  inference_mode: true,
  exclude_modules: '.*visual.*',
  target_modules:
    '(.*(model).*(down_proj|gate_proj|up_proj|k_proj|q_proj|v_proj|o_proj).*$|.*(single_vector_projector|multi_vector_projector).*$)',
  base_model_name_or_path: 'jinaai/jina-embeddings-v4',
  ...(activation === 'none' ? {} : { activation }), // our own key: PEFT has none
});
