import { expect, test } from 'vitest';
import { planBatches } from '../src/batches.ts';
import { Config, DEFAULT_SETTINGS } from '../src/config.ts';
import { chooseResidence, type MemoryPlan } from '../src/memory-plan.ts';
import { parseModelConfig } from '../src/model-config.ts';
import { configJson, GEOMETRIES } from './support/geometries.ts';

test('defaults < file < environment < options', () => {
  const config = new Config({
    file: { batchSize: 2, maxLength: 100, task: 'code' },
    env: { JINA_EMBEDDINGS_MAX_LENGTH: '200', JINA_EMBEDDINGS_TASK: 'retrieval', HOME: '/' },
    options: { task: 'text-matching' },
  });
  expect(config.settings).toEqual({
    ...DEFAULT_SETTINGS,
    batchSize: 2,
    maxLength: 200,
    task: 'text-matching',
  });
  expect(config.with({ batchSize: 3 }).settings.batchSize).toBe(3);
  expect(Object.isFrozen(config.settings)).toBe(true);
});

test.each([
  [{ options: { batchsize: 1 } }, 'options: unknown setting "batchsize"; the settings are device, compute'],
  [
    { file: { maxLength: 40000 } },
    'settings file: maxLength must be a whole number from 1 to 32768, got 40000',
  ],
  [{ env: { JINA_EMBEDDINGS_DEVICE: 'tpu' } }, 'environment: device must be one of auto, cuda, tensorflow'],
  [{ env: { JINA_EMBEDDINGS_COLOUR: 'red' } }, 'environment: unknown setting "colour"'],
  [{ options: { precision: 'int4' } }, 'options: precision must be one of float32, float16, int8'],
  [{ file: [] }, 'settings file: expected an object of settings'],
])('bad settings %j are refused', (layers, message) => {
  expect(() => new Config(layers)).toThrow(message);
});

const published = configJson(GEOMETRIES.published);
const text = published.text_config;

test.each([
  [{ ...published, matryoshka_dims: undefined }, 'config.json: the key "matryoshka_dims" is missing'],
  [
    { ...published, matryoshka_dims: [4096] },
    'matryoshka_dims must be whole numbers up to hidden_size 2048, got 4096',
  ],
  [
    { ...published, text_config: { ...text, hidden_act: 'gelu' } },
    'text_config: hidden_act must be silu, got "gelu"',
  ],
  [
    { ...published, text_config: { ...text, num_key_value_heads: 3 } },
    'num_key_value_heads must be a divisor of num_attention_heads 16, got 3',
  ],
  [{ ...published, text_config: { ...text, use_sliding_window: true } }, 'use_sliding_window must be false'],
  [
    { ...published, text_config: { ...text, rope_scaling: { mrope_section: [1, 2, 3] } } },
    '3 numbers that sum to 64',
  ],
  [
    { ...published, vision_config: { ...published.vision_config, out_hidden_size: 5 } },
    'the vision tower gives 5 channels',
  ],
  [
    { ...published, vision_config: { ...published.vision_config, fullatt_block_indexes: [40] } },
    'fullatt_block_indexes must be block numbers below 32, got 40',
  ],
  [[], 'config.json: expected a JSON object, got []'],
])('config.json that does not add up is refused (%#)', (json, message) => {
  expect(() => parseModelConfig(json)).toThrow(message);
});

test('an older flat config and "in_chans" are read as well', () => {
  const { text_config, vision_config, ...root } = published;
  const { in_channels, ...vision } = vision_config;
  const flat = parseModelConfig({
    ...root,
    ...text_config,
    vision_config: { ...vision, in_chans: in_channels },
  });
  expect(flat).toEqual(parseModelConfig(published));
});

test('batches: longest first, equal lengths together, within count and budget; a long one runs alone', () => {
  expect(planBatches([3, 9, 3, 50, 9], { batchSize: 3, tokenBudget: 20 })).toEqual([[3], [1, 4], [0, 2]]);
  expect(planBatches([1, 1, 1], { batchSize: 2, tokenBudget: 100 })).toEqual([[0, 1], [2]]);
});

const plan = (residence: MemoryPlan['residence'], total: number): MemoryPlan => ({
  residence,
  total,
  heap: total,
  weights: total,
  runtime: 0,
  tokenizer: 0,
  adapters: 0,
  work: 0,
});
const plans = [plan('float32', 16e9), plan('bfloat16', 9e9), plan('streamed', 1.5e9)];

test.each([
  [24e9, 'bfloat16'],
  [64e9, 'float32'],
  [8e9, 'streamed'],
  [1e9, 'streamed'],
  [null, 'float32'],
] as const)('with %d bytes free, auto takes %s', (free, residence) => {
  expect(chooseResidence('auto', 'tensorflow', plans, free).residence).toBe(residence);
});

test('a residence that does not fit is refused before loading, with those that do', () => {
  expect(() => chooseResidence('float32', 'tensorflow', plans, 10e9)).toThrow(
    'residence "float32" needs about 16.0 GB, but only 10.0 GB are free; these would fit: bfloat16 (9.0 GB), streamed (1.5 GB)',
  );
  expect(() => chooseResidence('float32', 'wasm', plans, 64e9)).toThrow('a WebAssembly heap ends at 4 GB');
  expect(chooseResidence('bfloat16', 'tensorflow', plans, 10e9).residence).toBe('bfloat16');
});
