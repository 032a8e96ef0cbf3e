// Every kind of layer goes through the same cases (as in the model, saved and loaded, trained), so one file.
import '@tensorflow/tfjs-backend-cpu'; // some cases make tensors before a suite starts its backend
import * as tf from '@tensorflow/tfjs-core';
import * as tfl from '@tensorflow/tfjs-layers';
import { describe, expect, test } from 'vitest';
import { onEveryBackend } from '../../test/support/backends.ts';
import { expectClose, gaussian } from '../../test/support/close.ts';
import { GOLDEN, goldenIndex } from '../../test/support/golden.ts';
import { InputError } from '../errors.ts';
import type { DecoderConfig } from '../model-config.ts';
import { JinaEmbeddings } from '../platform/node.ts';
import { gatherRows } from './gather-rows.ts';
import { LoraDense, ModelLayer, modelLayer, registerLayerKind } from './index.ts';

const random = (shape: number[], seed: number, scale = 1): tf.Tensor =>
  tf.tensor(
    gaussian(
      shape.reduce((a, b) => a * b, 1),
      seed,
    ).map((v) => v * scale),
    shape,
  );

const decoder: DecoderConfig = {
  hiddenSize: 16,
  numHiddenLayers: 2,
  numAttentionHeads: 4,
  numKeyValueHeads: 2,
  headDim: 4,
  intermediateSize: 24,
  vocabSize: 50,
  rmsNormEps: 1e-6,
  ropeTheta: 10000,
  mropeSection: [1, 1, 0],
  maxPositionEmbeddings: 64,
};

/** Everything that a saved model is, and the model that is loaded from it. */
async function reloaded(model: tfl.LayersModel): Promise<tfl.LayersModel> {
  let artifacts: tf.io.ModelArtifacts | null = null;
  await model.save(
    tf.io.withSaveHandler(async (a) => {
      artifacts = JSON.parse(JSON.stringify({ ...a, weightData: null })) as tf.io.ModelArtifacts; // as a file would keep it
      artifacts.weightData = a.weightData;
      return { modelArtifactsInfo: { dateSaved: new Date(0), modelTopologyType: 'JSON' } };
    }),
  );
  return tfl.loadLayersModel(tf.io.fromMemory(artifacts as unknown as tf.io.ModelArtifacts));
}

const lossesOf = async (
  model: tfl.LayersModel,
  x: tf.Tensor,
  y: tf.Tensor,
  epochs: number,
): Promise<number[]> =>
  (await model.fit(x, y, { epochs, batchSize: 8, shuffle: false, verbose: 0 })).history.loss as number[];

const valuesOf = (tensors: readonly tf.Tensor[]): number[][] => tensors.map((t) => [...t.dataSync()]);

/** Losses of the first backend that ran, by case: the others go the same way. */
const firstWays: number[][] = [];

onEveryBackend(() => {
  test('LoraDense learns, its kernel stays bit for bit, and the model comes back from a file the same', async () => {
    const before = tf.memory().numTensors;
    const x = random([32, 6], 1);
    const truth = random([6, 4], 2);
    const kernel = random([6, 4], 3) as tf.Tensor2D;
    const y = tf.tidy(() => tf.relu(tf.matMul(x as tf.Tensor2D, truth as tf.Tensor2D)));
    const lora = new LoraDense({ units: 4, rank: 4, alpha: 8, kernel, activation: 'relu', inputShape: [6] });
    const model = tfl.sequential({ layers: [lora] });
    expect(lora.trainableWeights.map((w) => w.originalName.split('/').pop())).toEqual(['loraA', 'loraB']);
    // B is zero: nothing is changed yet.
    const untouched = tf.tidy(() => tf.relu(tf.matMul(x as tf.Tensor2D, kernel)));
    const first = model.predict(x) as tf.Tensor;
    expectClose(first.dataSync(), untouched.dataSync(), { relativeToMax: 1e-6, what: 'before training' });
    const frozen = valuesOf(lora.nonTrainableWeights.map((w) => w.read()));
    const optimizer = tf.train.adam(0.05);
    model.compile({ optimizer, loss: 'meanSquaredError' });
    const losses = await lossesOf(model, x, y, 60);
    expect(losses[losses.length - 1]).toBeLessThan(losses[0] / 20);
    expect(valuesOf(lora.nonTrainableWeights.map((w) => w.read()))).toEqual(frozen);
    expect(frozen[0]).toEqual([...kernel.dataSync()]);

    const merged = lora.mergedKernel();
    const learnt = model.predict(x) as tf.Tensor;
    const byHand = tf.tidy(() => tf.relu(tf.matMul(x as tf.Tensor2D, merged)));
    expectClose(byHand.dataSync(), learnt.dataSync(), { relativeToMax: 1e-5, what: 'merged' });

    const again = await reloaded(model);
    const same = again.predict(x) as tf.Tensor;
    expect([...same.dataSync()]).toEqual([...learnt.dataSync()]);
    expect(again.layers[0].getConfig()).toEqual(lora.getConfig());
    expect(again.layers[0].trainableWeights.length).toBe(2);

    optimizer.dispose();
    model.dispose();
    again.dispose();
    tf.dispose([x, truth, kernel, y, untouched, first, merged, learnt, byHand, same]);
    expect(tf.memory().numTensors - before).toBe(0);
  });

  test('a decoder block learns under model.fit; what is frozen stays; it comes back from a file the same', async () => {
    const before = tf.memory().numTensors;
    const x = random([16, 5, 16], 4);
    const y = random([16, 1], 5);
    const block = modelLayer('decoderBlock', decoder, {
      inputShape: [5, 16],
      frozen: ['selfAttn.kProj', 'inputLayernorm', 'mlp.gateProj.weight'],
    });
    const head = tfl.layers.dense({ units: 1 });
    const model = tfl.sequential({
      layers: [block, modelLayer('singleVector', { size: 16, normalize: false }), head],
    });
    const weights = () =>
      new Map(
        block.weights.map((w) => [w.originalName.split('/').pop() as string, [...w.read().dataSync()]]),
      );
    const start = weights();
    expect([...start.keys()].sort()).toEqual(
      [
        'inputLayernorm',
        'postAttentionLayernorm',
        ...['q', 'k', 'v'].flatMap((p) => [`selfAttn.${p}Proj.weight`, `selfAttn.${p}Proj.bias`]),
        'selfAttn.oProj.weight',
        ...['gate', 'up', 'down'].map((p) => `mlp.${p}Proj.weight`),
      ].sort(),
    );
    const optimizer = tf.train.adam(0.01);
    model.compile({ optimizer, loss: 'meanSquaredError' });
    const losses = await lossesOf(model, x, y, 40);
    expect(losses[losses.length - 1]).toBeLessThan(losses[0] / 5);
    for (const [name, values] of weights()) {
      const still = /kProj|inputLayernorm|gateProj/.test(name);
      if (still) expect(values, name).toEqual(start.get(name));
      else expect(values, name).not.toEqual(start.get(name));
    }
    const again = await reloaded(model);
    const [found, expected] = [again, model].map((m) => m.predict(x) as tf.Tensor);
    expect([...found.dataSync()]).toEqual([...expected.dataSync()]);
    expect(again.layers[0].getConfig()).toEqual(block.getConfig());
    expect(again.layers[0].trainableWeights.length).toBe(block.trainableWeights.length);

    optimizer.dispose();
    model.dispose();
    again.dispose();
    tf.dispose([x, y, found, expected]);
    expect(tf.memory().numTensors - before).toBe(0);
  });

  test('stock models of these layers are the model: texts and pages of the golden checkpoint', async () => {
    using jina = await JinaEmbeddings.load(GOLDEN, { device: tf.getBackend() as 'cpu', task: null });
    const { config, params } = jina.model;
    const { hiddenSize, vocabSize, rmsNormEps } = config.decoder;
    const blocks = Array.from({ length: params.model.layers.length }, (_, i) => params.model.layers.take(i));

    const everyId = Int32Array.from({ length: vocabSize }, (_, i) => i);
    const table = await params.model.embedTokens.gather(everyId);
    const text = tfl.sequential({
      layers: [
        modelLayer('embedding', { vocabSize, hiddenSize }, { inputShape: [null], params: table }),
        ...blocks.map((block) => modelLayer('decoderBlock', config.decoder, { params: block as never })),
        modelLayer('rmsNorm', { eps: rmsNormEps }, { params: params.model.norm }),
        modelLayer('singleVector', { size: 32 }),
      ],
    });
    for (const sentence of goldenIndex.texts.slice(0, 3)) {
      const ids = jina.tokenizer.encode(`Query: ${sentence}`);
      const found = tf.tidy(
        () => text.predict(tf.tensor([[...ids], [...ids]], [2, ids.length])) as tf.Tensor,
      );
      const expected = await jina.encodeText(sentence, { task: null, truncateDim: 32 });
      const values = found.dataSync();
      expectClose(values.slice(0, 32), expected, { relativeToMax: 2e-5, what: sentence });
      expectClose(values.slice(32), expected, { relativeToMax: 2e-5, what: 'the second of the batch' });
      found.dispose();
    }

    // A page of 4 × 6 merge blocks: windows are 4 × 4, so that the right ones are cut.
    const grid = [8, 12] as const;
    const { vision } = config;
    const pixels = gaussian(2 * 96 * vision.patchValues, 9);
    const tower = tfl.sequential({
      layers: [
        modelLayer(
          'patchEmbed',
          { config: vision, grid },
          { inputShape: [96, vision.patchValues], params: params.visual.patchEmbed },
        ),
        ...Array.from({ length: vision.depth }, (_, i) =>
          modelLayer(
            'visionBlock',
            { config: vision, grid, windowed: !vision.fullattBlockIndexes.includes(i) },
            { params: params.visual.blocks.take(i) as never },
          ),
        ),
        modelLayer('merger', { config: vision }, { params: params.visual.merger }),
        modelLayer('rasterOrder', { config: vision, grid }),
      ],
    });
    const tokens = tf.tidy(() => tower.predict(tf.tensor(pixels, [2, 96, vision.patchValues])) as tf.Tensor);
    const seen = await jina.model.see({
      pixelValues: pixels,
      grids: [
        [1, ...grid],
        [1, ...grid],
      ],
    });
    expect(tokens.shape).toEqual([2, 24, vision.outHiddenSize]);
    expectClose(tokens.dataSync(), seen.dataSync(), { relativeToMax: 2e-5, what: 'visual tokens' });
    text.dispose();
    tower.dispose();
    tf.dispose([table, tokens, seen]);
  });

  test('the layers of the vision tower and the embedding learn, too', async () => {
    using jina = await JinaEmbeddings.load(GOLDEN, { device: tf.getBackend() as 'cpu' });
    const { vision } = jina.model.config;
    const grid = [4, 4] as const;
    // One random start in sixty lies so badly that twelve steps are too few: every start is fixed.
    const seeded = (seed: number) => ({
      kernelInitializer: { className: 'glorotUniform', config: { seed } },
    });
    const tower = tfl.sequential({
      layers: [
        modelLayer(
          'patchEmbed',
          { config: vision, grid },
          { inputShape: [16, vision.patchValues], ...seeded(1) },
        ),
        modelLayer('visionBlock', { config: vision, grid, windowed: true }, seeded(2)),
        modelLayer('visionAttention', { config: vision, grid, windowed: false }, seeded(3)),
        modelLayer('merger', { config: vision }, seeded(4)),
        modelLayer('rasterOrder', { config: vision, grid }),
        modelLayer('multiVector', { size: 4 }, seeded(9)),
      ],
    });
    const words = tfl.sequential({
      layers: [
        modelLayer('embedding', { vocabSize: 20, hiddenSize: 16 }, { inputShape: [4], ...seeded(5) }),
        modelLayer('selfAttention', decoder, seeded(6)),
        modelLayer('linear', { outSize: 8, bias: false }, seeded(7)),
        modelLayer('mlp', { intermediateSize: 12, bias: true }, seeded(8)),
        modelLayer('rmsNorm', { eps: 1e-6 }),
        modelLayer('singleVector', { size: 4 }),
      ],
    });
    const unit = (shape: number[], seed: number) =>
      tf.tidy(() => {
        const t = random(shape, seed);
        return tf.div(t, tf.norm(t, 2, -1, true));
      });
    const cases = [
      { model: tower, x: random([2, 16, vision.patchValues], 1, 0.1), y: unit([2, 4, 4], 2) },
      {
        model: words,
        x: tf.tensor2d(
          Int32Array.from({ length: 24 }, (_, i) => (i * 7) % 20),
          [6, 4],
          'int32',
        ),
        y: unit([6, 4], 3),
      },
    ];
    for (const [i, { model, x, y }] of cases.entries()) {
      const start = valuesOf(model.getWeights());
      const optimizer = tf.train.adam(0.01);
      model.compile({ optimizer, loss: 'meanSquaredError' });
      const losses = await lossesOf(model, x, y, 12);
      // One start, so one way down: a gradient that is wrong on one backend leaves it at once.
      const way = losses.slice(0, 5);
      firstWays[i] ??= way;
      expectClose(way, firstWays[i], { relativeToMax: 1e-4, what: `losses of case ${i}` });
      expect(losses[losses.length - 1]).toBeLessThan(losses[0] * 0.8);
      const held = tf.memory().numTensors;
      await lossesOf(model, x, y, 1);
      tf.dispose(model.predict(x));
      expect(tf.memory().numTensors).toBe(held);
      valuesOf(model.getWeights()).forEach((values, i) => {
        expect(values, model.weights[i].originalName).not.toEqual(start[i]);
      });
      optimizer.dispose();
      model.dispose();
      tf.dispose([x, y]);
    }
  });

  test('rows by number: the gradient counts a row as often as it was taken', async () => {
    const before = tf.memory().numTensors;
    const table = random([5, 3], 1) as tf.Tensor2D;
    const ids = tf.tensor1d([4, 0, 4, 2], 'int32');
    const weight = random([4, 3], 2);
    const { value, grad } = tf.valueAndGrad((t) => tf.sum(tf.mul(gatherRows(t as tf.Tensor2D, ids), weight)))(
      table,
    );
    const [t, w, g] = valuesOf([table, weight, grad]);
    const expected = new Array(15).fill(0);
    let sum = 0;
    [4, 0, 4, 2].forEach((row, i) => {
      for (let d = 0; d < 3; d++) {
        expected[3 * row + d] += w[3 * i + d];
        sum += t[3 * row + d] * w[3 * i + d];
      }
    });
    expectClose(g, expected, { relativeToMax: 1e-6, what: 'gradient' });
    expectClose(value.dataSync(), [sum], { relativeToMax: 1e-5, what: 'value' });
    tf.dispose([table, ids, weight, value, grad]);
    expect(tf.memory().numTensors).toBe(before);
  });

  test('trainable switches: off nothing trains, on again A and B do, the kernel never', async () => {
    const lora = new LoraDense({ units: 2, rank: 1, trainBias: true, inputShape: [3] });
    const model = tfl.sequential({ layers: [lora] });
    const names = () => lora.trainableWeights.map((w) => w.originalName.split('/').pop());
    expect(names()).toEqual(['loraA', 'loraB', 'bias']);
    lora.trainable = false;
    expect(names()).toEqual([]);
    lora.trainable = true;
    expect(names()).toEqual(['loraA', 'loraB', 'bias']);
    const block = modelLayer('mlp', { intermediateSize: 4 }, { trainable: false, inputShape: [3] });
    const stack = tfl.sequential({ layers: [block, lora] });
    expect(block.trainableWeights).toEqual([]);
    const [x, y] = [random([8, 3], 1), random([8, 2], 2)];
    const start = valuesOf(block.getWeights());
    const optimizer = tf.train.sgd(0.1);
    stack.compile({ optimizer, loss: 'meanSquaredError' });
    await lossesOf(stack, x, y, 2);
    expect(valuesOf(block.getWeights())).toEqual(start);
    optimizer.dispose();
    stack.dispose();
    model.dispose();
    tf.dispose([x, y]);
  });
});

describe('options', () => {
  test.each([
    [{ rank: 4, alpha: 8 }, 2],
    [{ rank: 4, alpha: 8, rslora: true }, 4],
    [{ rank: 4 }, 1],
  ])('LoraDense %j counts %d', (args, scale) => {
    expect(new LoraDense({ units: 2, ...args }).scale).toBe(scale);
  });

  test('relu between A and B is what was written, and does not merge', () => {
    const before = tf.memory().numTensors;
    const lora = new LoraDense({
      units: 2,
      rank: 3,
      loraActivation: 'relu',
      useBias: false,
      inputShape: [2, 4],
    });
    const model = tfl.sequential({ layers: [lora] });
    const [kernel, a, b] = [random([4, 2], 1), random([4, 3], 2), random([3, 2], 3)];
    lora.setWeights([a, b, kernel]);
    const x = random([2, 2, 4], 4);
    const found = model.predict(x) as tf.Tensor;
    const expected = tf.tidy(() => {
      const rows = tf.reshape(x, [4, 4]) as tf.Tensor2D;
      const low = tf.matMul(tf.relu(tf.matMul(rows, a as tf.Tensor2D)), b as tf.Tensor2D);
      return tf.reshape(tf.add(tf.matMul(rows, kernel as tf.Tensor2D), low), [2, 2, 2]);
    });
    expect(found.shape).toEqual([2, 2, 2]);
    expectClose(found.dataSync(), expected.dataSync(), { relativeToMax: 1e-6, what: 'relu' });
    expect(() => lora.mergedKernel()).toThrow('A and B do not merge');
    model.dispose();
    tf.dispose([kernel, a, b, x, found, expected]);
    expect(tf.memory().numTensors - before).toBe(0);
  });

  test('initialisers are saved, by name and as objects', async () => {
    const model = tfl.sequential({
      layers: [
        modelLayer(
          'linear',
          { outSize: 3 },
          {
            inputShape: [2],
            kernelInitializer: tfl.initializers.constant({ value: 0.5 }),
          },
        ),
        new LoraDense({ units: 2, rank: 1, kernelInitializer: 'heNormal', biasInitializer: 'ones' }),
      ],
    });
    const again = await reloaded(model);
    expect(again.layers.map((l) => l.getConfig())).toEqual(model.layers.map((l) => l.getConfig()));
    expect(valuesOf(model.layers[0].getWeights())).toEqual([
      [0.5, 0.5, 0.5, 0.5, 0.5, 0.5],
      [0, 0, 0],
    ]);
    expect(valuesOf(again.getWeights())).toEqual(valuesOf(model.getWeights()));
    model.dispose();
    again.dispose();
  });

  test('a kind of your own', async () => {
    registerLayerKind<{ factor: number }, Record<string, never>>('scaled', {
      input: 'rows',
      width: () => null,
      spec: () => ({}),
      call: (_, x, { factor }) => tf.mul(x, factor),
      outputShape: (shape) => shape,
    });
    const model = tfl.sequential({
      layers: [new ModelLayer({ kind: 'scaled', options: { factor: 3 }, inputShape: [2] })],
    });
    const again = await reloaded(model);
    const y = tf.tidy(() => again.predict(tf.tensor2d([[1, 2]])) as tf.Tensor);
    expect([...y.dataSync()]).toEqual([3, 6]);
    y.dispose();
  });

  const built = (layer: tfl.layers.Layer, shape: (number | null)[]) => () => layer.build(shape);
  test.each<[string, () => unknown, string]>([
    [
      'an unknown kind',
      () => new ModelLayer({ kind: 'nope', options: {} }),
      'unknown layer kind "nope"; there are embedding, linear',
    ],
    [
      'a bad kind name',
      () => registerLayerKind('Not-this', {} as never),
      'camelCase name of letters, got "Not-this"',
    ],
    ['a rank', () => new LoraDense({ units: 2, rank: 0 }), 'rank must be a whole number, 1 or more, got 0'],
    [
      'an initializer',
      built(modelLayer('linear', { outSize: 1 }, { kernelInitializer: 'x' }), [null, 2]),
      'unknown initializer "x"',
    ],
    [
      'a flat input',
      built(modelLayer('decoderBlock', decoder), [null, 16]),
      'takes [batch, rows, width], got [, 16]',
    ],
    [
      'another width',
      built(modelLayer('decoderBlock', decoder), [null, 3, 8]),
      'takes rows of 16 values, got [null, 3, 8]',
    ],
    [
      'no width',
      built(modelLayer('linear', { outSize: 1 }), [null, null]),
      'rows of a known number of values',
    ],
    [
      'a frozen part that is not there',
      built(modelLayer('mlp', { intermediateSize: 2 }, { frozen: ['gate'] }), [null, 2]),
      'no weight is called "gate"',
    ],
    [
      'values of another shape',
      built(modelLayer('rmsNorm', { eps: 1 }, { params: tf.ones([3]) as tf.Tensor1D }), [null, 2]),
      'shape [2] cannot start as a tensor of shape [3]',
    ],
    ['no weights yet', () => new LoraDense({ units: 2, rank: 1 }).mergedKernel(), 'has no weights yet'],
  ])('%s is an InputError', (_, make, message) => {
    let error: unknown = null;
    try {
      make();
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(InputError);
    expect((error as Error).message).toContain(message);
  });
});
