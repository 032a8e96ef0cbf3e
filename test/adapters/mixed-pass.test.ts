import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, test, vi } from 'vitest';
import { float32Matrix, type LoraTerm, type Span } from '../../kernels/index.ts';
import type { AdapterChoice } from '../../src/adapters/choice.ts';
import type { Linear } from '../../src/layers/linear.ts';
import { type Mlp, normedMlp, ROWS_AT_ONCE } from '../../src/layers/mlp.ts';
import { type Adapter, JinaEmbeddings, weigh } from '../../src/platform/node.ts';
import { expectNoLeak, onEveryBackend } from '../support/backends.ts';
import { expectClose, expectTensorClose, gaussian, gaussianTensor } from '../support/close.ts';
import { GOLDEN } from '../support/golden.ts';

// Inputs of several adapters in one pass.

type Two = tf.Tensor2D;
const SAME = { relativeToMax: 1e-6 };

onEveryBackend((backend) => {
  describe.each(['float32', 'bfloat16', 'streamed'] as const)('%s weights', (residence) => {
    let jina: JinaEmbeddings;
    beforeAll(async () => {
      jina = await JinaEmbeddings.load(GOLDEN, { device: backend, residence });
      return () => jina.dispose();
    });

    const sequences = [1, 7, 12, 2, 5].map((length, i) => ({
      ids: Int32Array.from({ length }, (_, t) => 3 + 11 * i + t),
    }));

    /** Hidden states and multi-vectors: of one pass, and of one for each input. */
    async function compare(choices: readonly AdapterChoice[]): Promise<void> {
      const { model } = jina;
      await expectNoLeak(async () => {
        const found = await model.forward(sequences, { adapters: choices });
        const vectors = model.multiVectors(found, model.byInput(choices, sequences));
        const alone: Two[] = [];
        for (const [i, sequence] of sequences.entries())
          alone.push(await model.forward([sequence], { adapter: choices[i] }));
        const expected: Two = tf.concat(alone, 0);
        const own = alone.map((hidden, i) => model.multiVectors(hidden, choices[i]));
        const expectedVectors: Two = tf.concat(own, 0);
        await expectTensorClose(found, expected, { ...SAME, what: `hidden states of ${choices}` });
        await expectTensorClose(vectors, expectedVectors, { ...SAME, what: `multi-vectors of ${choices}` });
        tf.dispose([found, vectors, expected, expectedVectors, ...alone, ...own]);
      });
    }

    test('is what each would be by itself', async () => {
      const [a, b, c] = jina.model.adapters.keys();
      await compare([a, b, b, null, c]);
      await compare([b, a, c, a, b]); // back and forth
      await compare([null, null, a, null, null]);
      await compare([
        `${a}*0.7 + ${b}*0.3`,
        a,
        [jina.model.adapter(b), weigh(jina.model.adapter(c), 0.5)],
        b,
        a,
      ]);
      await compare([a, a, a, a, a]);
    });

    test('another adapter makes another result', async () => {
      const [a, b] = jina.model.adapters.keys();
      const [one, two] = [
        await jina.model.forward(sequences, { adapters: [a, a, b, a, a] }),
        await jina.model.forward(sequences, { adapter: a }),
      ];
      const differ = await tf.tidy(() => tf.max(tf.abs(tf.sub(one, two)), 1)).data();
      expect([...differ].map((d) => d > 1e-3)).toEqual(
        sequences.flatMap(({ ids }, i) => new Array(ids.length).fill(i === 2)),
      );
      tf.dispose([one, two]);
    });

    test('what is there for all rows is refused, unless all inputs have it', async () => {
      const { model } = jina;
      const [name] = model.adapters.keys();
      const norm = { place: 'model.norm', weight: tf.ones([model.config.decoder.hiddenSize]) as tf.Tensor1D };
      const other: Adapter = {
        ...model.adapter(name),
        name: 'other',
        norms: new Map([['model.norm', norm]]),
      };
      const mixed = [name, [other], name, name, name];
      await expect(model.forward(sequences, { adapters: mixed })).rejects.toThrow(
        'adapter "other" replaces model.norm (modules_to_save), for all inputs of a pass',
      );
      (await model.forward(sequences, { adapters: sequences.map(() => [other]) })).dispose();
      await expect(model.forward(sequences, { adapters: [name] })).rejects.toThrow(
        'there are 5 sequences, but adapters for 1',
      );
      norm.weight.dispose();
    });
  });

  test('encode runs an adapter that replaces parts by itself, and merged weights refuse another adapter', async () => {
    using jina = await JinaEmbeddings.load(GOLDEN, { device: backend, residence: 'float32' });
    const { model } = jina;
    const [name, second] = model.adapters.keys();
    const weight = tf.fill([model.config.decoder.hiddenSize], 1.5) as tf.Tensor1D;
    model.addAdapter({
      ...model.adapter(name),
      name: 'other',
      norms: new Map([['model.norm', { place: 'model.norm', weight }]]),
      dispose: () => weight.dispose(),
    });
    const texts = ['one', 'two', 'three', 'four'];
    const tasks = [name, 'other', name, 'other'];
    const forward = vi.spyOn(model, 'forward');
    const together = await jina.encodeText(texts, { task: tasks, batchSize: 2 });
    expect(forward).toHaveBeenCalledTimes(2); // its inputs still share batches
    forward.mockRestore();
    for (const [i, text] of texts.entries()) {
      const alone = await jina.encodeText(text, { task: tasks[i] });
      expectClose(together[i], alone, { relativeToMax: 2e-6, what: text });
    }
    await model.mergeAdapter(name);
    await expect(jina.encodeText(texts, { task: [name, second, name, second] })).rejects.toThrow(
      `adapter "${name}" is merged into the weights`,
    );
  });

  test('an MLP of more rows than go at once keeps each term on its rows', async () => {
    const [T, D, F] = [ROWS_AT_ONCE + 6, 8, 12];
    let seed = 1;
    const matrix = (r: number, c: number) => float32Matrix(tf.tensor2d(gaussian(r * c, seed++), [r, c]));
    const map = (name: string, inSize: number, outSize: number): Linear => ({
      name,
      weight: matrix(inSize, outSize),
      bias: null,
      lora: [0, 1].map(
        (): LoraTerm => ({ a: matrix(inSize, 2), b: matrix(2, outSize), scale: 0.5, activation: 'none' }),
      ),
    });
    const maps: Mlp = {
      gateProj: map('gate', D, F),
      upProj: map('up', D, F),
      downProj: map('down', F, D),
    };
    const borders = [0, 3, ROWS_AT_ONCE + 2, T - 1, T]; // the first term holds over the end of a part
    const spans: readonly Span[] = [1, 2].map((i) => ({ begin: borders[i], end: borders[i + 1] }));
    const each = (change: (l: Linear) => Linear): Mlp => ({
      gateProj: change(maps.gateProj),
      upProj: change(maps.upProj),
      downProj: change(maps.downProj),
    });
    const x = gaussianTensor([T, D], 90);
    const norm = tf.ones([D]) as tf.Tensor1D;
    const run = (p: Mlp, rows: Two) => normedMlp(p, { x: rows, norm, eps: 1e-6 });
    await expectNoLeak(async () => {
      const found = run(
        each((l) => ({ ...l, lora: l.lora.map((term, i) => ({ ...term, rows: spans[i] })) })),
        x,
      );
      const expected = tf.tidy(() => {
        const parts = [0, 1, 2, 3].map((i) => {
          const rows: Two = tf.slice(x, [borders[i], 0], [borders[i + 1] - borders[i], D]);
          return run(
            each((l) => ({ ...l, lora: l.lora.slice(i - 1, i) })),
            rows,
          );
        });
        return tf.concat(parts, 0) as Two;
      });
      await expectTensorClose(found, expected, { ...SAME, what: 'MLP in parts' });
      tf.dispose([found, expected]);
    });
    for (const { weight, lora } of Object.values(maps)) {
      for (const m of [weight, ...lora.flatMap(({ a, b }: LoraTerm) => [a, b])]) m.dispose();
    }
    tf.dispose([x, norm]);
  });
});
