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
