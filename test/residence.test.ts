import { cpSync, mkdtempSync, rmSync, utimesSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { JinaEmbeddings } from '../src/platform/node.ts';
import { onEveryBackend } from './support/backends.ts';
import { GOLDEN } from './support/golden.ts';

const texts = ['hello world', 'a red car', ''];
const image = `${GOLDEN}images/small.png`;

onEveryBackend((backend) => {
  const bits: string[] = [];
  let before = 0;
  beforeAll(() => {
    before = tf.memory().numTensors;
  });
  afterAll(() => expect(tf.memory().numTensors).toBe(before));

  test.each(['float32', 'bfloat16', 'streamed'] as const)(
    '%s weights give the same bits',
    async (residence) => {
      const jina = await JinaEmbeddings.load(GOLDEN, { device: backend, residence });
      const loaded = tf.memory().numTensors;
      const vectors = await jina.encode([...texts, { image }], { task: 'code' });
      const rows = await jina.encodeText(texts[1], { returnMultivector: true });
      bits.push(
        [...vectors, ...rows]
          .map((v) => Buffer.from(v.buffer, v.byteOffset, v.byteLength).toString('base64'))
          .join(),
      );
      expect(bits.at(-1)).toBe(bits[0]);
      expect(tf.memory().numTensors).toBe(loaded);
      jina.dispose();
    },
  );
});

test('calls that overlap on streamed weights wait for each other', async () => {
  const jina = await JinaEmbeddings.load(GOLDEN, { device: 'wasm', residence: 'streamed' });
  const alone = await jina.encodeText(texts);
  const together = await Promise.all(texts.map((t) => jina.encodeText(t)));
  expect(together.map((v) => [...v])).toEqual(alone.map((v) => [...v]));
  jina.dispose();
});

test('a shard that changes or goes away while blocks are streamed is named', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'streamed-'));
  cpSync(GOLDEN, folder, { recursive: true, filter: (path) => !path.endsWith('golden.safetensors') });
  const shard = join(folder, 'model-00001-of-00002.safetensors');
  const jina = await JinaEmbeddings.load(folder, { device: 'wasm', residence: 'streamed' });
  const tensors = tf.memory().numTensors;
  await jina.encodeText('a');
  utimesSync(shard, 1, 1);
  await expect(jina.encodeText('a')).rejects.toThrow(
    /model-00001-of-00002\.safetensors: was changed while it was in use/,
  );
  rmSync(folder, { recursive: true });
  await expect(jina.encodeText('a')).rejects.toThrow(
    /safetensors: was deleted or replaced while it was in use/,
  );
  expect(tf.memory().numTensors).toBe(tensors);
  jina.dispose();
});
