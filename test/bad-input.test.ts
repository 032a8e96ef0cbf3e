import { readFileSync } from 'node:fs';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  CheckpointError,
  DeviceError,
  InputError,
  JinaEmbeddings,
  SourceError,
} from '../src/platform/node.ts';
import { memoryTree } from '../weights/memory-source.ts';
import { startBackend } from './support/backends.ts';
import { GOLDEN } from './support/golden.ts';

const NAMES = [
  'config.json',
  'preprocessor_config.json',
  'tokenizer.json',
  'tokenizer_config.json',
  'model.safetensors.index.json',
  'model-00001-of-00002.safetensors',
  'model-00002-of-00002.safetensors',
  'adapters/adapter_config.json',
  'adapters/adapter_model.safetensors',
] as const;
type Name = (typeof NAMES)[number];
type Files = Record<string, Uint8Array | string>;

const files = (): Files =>
  Object.fromEntries(NAMES.map((name) => [name, new Uint8Array(readFileSync(GOLDEN + name))]));
const json = (name: Name) => JSON.parse(readFileSync(GOLDEN + name, 'utf8'));

/** Loads the golden checkpoint with some files changed; `null` removes one. */
function load(
  changes: Partial<Record<Name, Uint8Array | string | null>>,
  options = {},
): Promise<JinaEmbeddings> {
  const all = files();
  for (const [name, content] of Object.entries(changes)) {
    if (content === null) delete all[name];
    else all[name] = content;
  }
  return JinaEmbeddings.load(memoryTree('broken', all), { device: 'cpu', ...options });
}

async function refused(
  attempt: Promise<unknown>,
  type: new (m: string) => Error,
  ...parts: (string | RegExp)[]
) {
  const error = await attempt.then(
    () => null,
    (e: Error) => e,
  );
  expect(error).toBeInstanceOf(type);
  for (const part of parts) {
    if (typeof part === 'string') expect(error?.message).toContain(part);
    else expect(error?.message).toMatch(part);
  }
}

const shard = 'model-00001-of-00002.safetensors';

describe('checkpoints that cannot be loaded are refused, nothing stays behind', () => {
  let before = 0;
  beforeAll(async () => {
    await startBackend('cpu');
    before = tf.memory().numTensors;
  });
  afterAll(() => expect(tf.memory().numTensors).toBe(before));

  test('missing config', () =>
    refused(load({ 'config.json': null }), CheckpointError, 'broken: config.json is missing'));
  test('config with a missing key', () => {
    const { matryoshka_dims: _, ...rest } = json('config.json');
    return refused(
      load({ 'config.json': JSON.stringify(rest) }),
      CheckpointError,
      'config.json: the key "matryoshka_dims" is missing',
    );
  });
  test('config that is not JSON', () =>
    refused(load({ 'config.json': '{"a":' }), CheckpointError, /config\.json/, /JSON/));
  test('missing shard', () => refused(load({ [shard]: null }), CheckpointError, shard));
  test('cut-off shard', () => {
    const bytes = readFileSync(GOLDEN + shard);
    return refused(
      load({ [shard]: new Uint8Array(bytes.subarray(0, bytes.length - 1000)) }),
      CheckpointError,
      shard,
      /1,?000 bytes/,
    );
  });
  test('every misfit in one message, before data is read', () => {
    const config = json('config.json');
    config.text_config.intermediate_size = 80;
    return refused(
      load({ 'config.json': JSON.stringify(config) }),
      CheckpointError,
      /9 tensors/,
      /wrong shape model\.layers\.2\.mlp\.down_proj\.weight: expected \[64, 80\], found \[64, 96\]/,
    );
  });
  test('patch sizes that disagree between two files', () => {
    const images = { ...json('preprocessor_config.json'), patch_size: 16 };
    return refused(
      load({ 'preprocessor_config.json': JSON.stringify(images) }),
      CheckpointError,
      'patch_size is 16 in preprocessor_config.json but 14 in config.json',
    );
  });
  test('a tokenizer of another model', () => {
    const config = json('config.json');
    config.text_config.vocab_size = 600;
    return refused(
      load({ 'config.json': JSON.stringify(config) }),
      CheckpointError,
      /tokenizer\.json gives ids up to 60\d, but config\.json has vocab_size 600/,
    );
  });
  test('NaN in the weights, on request', () => {
    const bytes = new Uint8Array(readFileSync(GOLDEN + shard));
    bytes.set([0xc0, 0x7f], bytes.length - 2); // a bfloat16 NaN
    return refused(load({ [shard]: bytes }, { checkFinite: true }), CheckpointError, shard, /NaN/);
  });
  test('a LoRA that fits another width', () => {
    const config = json('adapters/adapter_config.json');
    return refused(
      load({ 'adapters/adapter_config.json': JSON.stringify({ ...config, r: 0 }) }),
      CheckpointError,
      /adapter_config\.json/,
      /r/,
    );
  });
  test('a folder that is not there', () =>
    refused(JinaEmbeddings.load('/no/such/folder'), SourceError, '/no/such/folder'));
  test('a backend that is not there', () =>
    refused(load({}, { device: 'cuda' }), DeviceError, '"cuda" was asked for'));
  test('a setting that is not there', () =>
    refused(load({}, { batchsize: 3 }), InputError, 'unknown setting "batchsize"'));
});

describe('calls that cannot be answered', () => {
  let jina: JinaEmbeddings;
  beforeAll(async () => {
    jina = await load({}, { device: 'cpu' });
  });
  afterAll(() => jina.dispose());

  test.each([
    [
      'unknown task',
      { task: 'poetry' },
      'unknown task "poetry"; broken has retrieval, text-matching, code, classification, clustering',
    ],
    ['a task list of another length', { task: ['code', 'code'] }, 'there are 1 inputs but 2 tasks'],
    [
      'unknown prompt',
      { promptName: 'doc' },
      'promptName must be one of query, passage, document, got "doc"',
    ],
    [
      'a size that was not trained',
      { truncateDim: 20 },
      'truncateDim 20 is not a size this model was trained for (16, 32, 64)',
    ],
    [
      'a size for multi-vectors',
      { truncateDim: 16, returnMultivector: true },
      'truncateDim applies to single vectors',
    ],
    ['unknown precision', { precision: 'float64' }, 'precision must be one of float32'],
    ['too long a maxLength', { maxLength: 40000 }, 'maxLength must be a whole number from 1 to 32768'],
    ['no batch', { batchSize: 0 }, 'batchSize must be a whole number from 1'],
  ])('%s', async (_, options, message) => {
    await refused(jina.encodeText(['a'], options as object), InputError, message);
  });

  test('an empty list', () =>
    refused(jina.encodeText([]), InputError, 'nothing to embed: the list is empty'));
  test('an empty text is its prefix, and valid', async () => {
    const vector = await jina.encodeText('');
    expect(vector.length).toBe(64);
    expect(jina.detailsOf(vector)?.tokens).toBeGreaterThan(0);
  });
  test('a number among the texts', () =>
    refused(jina.encodeText([1 as never]), InputError, 'text 0 is not a string but number'));
  test('broken images are named by their place', async () => {
    await refused(jina.encodeImage([new Uint8Array(0)]), InputError, /image 0/);
    await refused(jina.encode(['a', { image: new Uint8Array(5) }]), InputError, /image 1/);
    await refused(jina.encodeImage('/no/picture.png'), SourceError, '/no/picture.png');
    const wide = { width: 5700, height: 28, channels: 3 as const, data: new Uint8Array(5700 * 28 * 3) };
    await refused(jina.encodeImage(wide), InputError, /203/);
    const large = { width: 10000, height: 5000, channels: 3 as const, data: new Uint8Array(150_000_000) };
    await refused(jina.encodeImage(large), InputError, /20,?000,?000|20 megapixels/);
  });
  test('an alias says which adapter ran', async () => {
    const vector = await jina.encodeText('a', { task: 'clustering' });
    expect(jina.detailsOf(vector)).toMatchObject({
      task: 'clustering',
      adapter: 'text-matching',
      type: 'text',
      truncated: false,
    });
  });
  test('a cut text says so', async () => {
    const vector = await jina.encodeText('a long text that does not fit', { maxLength: 5 });
    expect(jina.detailsOf(vector)).toMatchObject({ tokens: 5, truncated: true });
  });
});
