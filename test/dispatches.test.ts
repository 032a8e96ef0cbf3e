import * as tf from '@tensorflow/tfjs-core';
import { expect, test } from 'vitest';
import { composed, cumulate, type LoraTerm, type Matrix, matrixStore } from '../kernels/index.ts';
import type { Words } from '../kernels/linear/weight-layouts.ts';
import { runCounts } from '../kernels/webgpu/run.ts';
import { decoderBlock, decoderBlockSpec } from '../src/decoder/block.ts';
import type { Linear } from '../src/layers/linear.ts';
import { disposeRotary, rotaryTables, rotaryValues } from '../src/layers/rotary.ts';
import type { LinearSpec, TensorSpec } from '../src/layers/spec.ts';
import { fillTree, mapLinears } from '../src/params.ts';
import { visionBlock, visionBlockSpec } from '../src/vision/block.ts';
import { onBothGpus } from './support/both-gpus.ts';
import { expectTensorClose, gaussian, gaussianTensor } from './support/close.ts';
import { GEOMETRIES, geometryConfig, narrowed } from './support/geometries.ts';
import { rawMatrix } from './support/matrices.ts';

// What a block costs a GPU besides its arithmetic. The counts are ours and those of stock ops.

const config = geometryConfig(narrowed(GEOMETRIES.published));

function stored(outSize: number, inSize: number, seed: number, words: Words): Matrix {
  const values = gaussian(outSize * inSize, seed).map((v) => v / Math.sqrt(inSize));
  return matrixStore().packed(rawMatrix(values, words, outSize, inSize));
}

/** What a block's weights are stored in, and those of its adapter, which is never quantised. */
type Recipe = { readonly words: (name: string) => Words; readonly lora: Words };
const same = (words: Words, lora: Words): Recipe => ({ words: () => words, lora });
const RECIPES: Readonly<Record<string, Recipe>> = {
  float32: same('float32', 'float32'),
  bfloat16: same('bfloat16', 'bfloat16'),
  float16: same('float16', 'float16'),
  int8: same('int8', 'bfloat16'),
  int4: same('int4', 'float16'),
  'bfloat16, its adapter float32': same('bfloat16', 'float32'),
  'int8, gate and up int4': {
    words: (name) => (/gate_proj|up_proj/.test(name) ? 'int4' : 'int8'), // as `quantize --precision int4` makes them
    lora: 'float32',
  },
  "int4, keys, values and attention's output int8": {
    words: (name) => (/[kvo]_proj/.test(name) ? 'int8' : 'int4'), // as with --everywhere
    lora: 'bfloat16',
  },
};

/** A block as it is loaded, with random weights. */
function blockOf<B>(spec: unknown, { words }: Recipe): B {
  let seed = 1;
  const linear = ({ name, inSize, outSize, bias }: LinearSpec): Linear => ({
    name,
    weight: stored(outSize, inSize, seed++, words(name)),
    bias: bias ? tf.tensor1d(gaussian(outSize, seed++)) : null,
    lora: [],
  });
  return fillTree(spec, {
    leaf: (leaf) =>
      (leaf as LinearSpec).leaf === 'linear'
        ? linear(leaf as LinearSpec)
        : tf.tensor1d(gaussian((leaf as TensorSpec).shape[0], seed++)),
    blocks: () => expect.unreachable('a block has no blocks'),
  }) as B;
}

const withLora = <B>(block: B, { lora }: Recipe): B => {
  let seed = 500;
  return mapLinears(block, (l) => {
    const { inSize, outSize } = l.weight;
    const term: LoraTerm = {
      a: stored(6, inSize, seed++, lora),
      b: stored(outSize, 6, seed++, lora),
      scale: 0.5,
      activation: seed % 3 === 0 ? 'relu' : 'none',
    };
    return { ...l, lora: [term] };
  });
};

/** Dispatches of `f`, of our shaders and of all. */
function counted(f: () => tf.Tensor2D): { y: tf.Tensor2D; ours: number; all: number } {
  const pass = GPUComputePassEncoder.prototype;
  const { dispatchWorkgroups } = pass;
  const before = runCounts().dispatches;
  let all = 0;
  pass.dispatchWorkgroups = function (...sizes) {
    all++;
    return dispatchWorkgroups.apply(this, sizes);
  };
  try {
    const y = f();
    return { y, all, ours: runCounts().dispatches - before };
  } finally {
    pass.dispatchWorkgroups = dispatchWorkgroups;
  }
}

onBothGpus('a block on webgpu', () => {
  const tables = (T: number, headDim: number) =>
    rotaryTables([rotaryValues(gaussian((T * headDim) / 2, 7), T)]);

  const lengths = [[5], [40, 1, 29]];
  const cases = Object.keys(RECIPES).flatMap((weights) => lengths.map((l) => ({ lengths: l, weights })));

  test.each(cases)(
    'of the decoder with an adapter is nine dispatches: $weights, $lengths',
    async ({ lengths, weights }) => {
      const recipe = RECIPES[weights];
      const { decoder: c } = config;
      const cuSeqlens = cumulate(lengths);
      const T = cuSeqlens[lengths.length];
      const x = gaussianTensor([T, c.hiddenSize], 3);
      const rotary = tables(T, c.headDim);
      const bare = blockOf<Parameters<typeof decoderBlock>[0]>(decoderBlockSpec('layers.0', c), recipe);
      const block = withLora(bare, recipe);
      const run = (b = block) => decoderBlock(b, x, rotary, c, cuSeqlens);
      tf.dispose(run());
      const found = counted(run);
      expect(found).toMatchObject({ ours: 9, all: 9 });
      const plain = counted(() => run(bare));
      expect(plain).toMatchObject({ ours: 7, all: 7 });
      const expected = composed(() => run());
      await expectTensorClose(found.y, expected, {
        relativeToMax: 1e-5,
        what: `decoder block, ${weights}, ${lengths}`,
      });
      const truth = composed(() => run(bare));
      await expectTensorClose(plain.y, truth, {
        relativeToMax: 1e-5,
        what: `decoder block, ${weights}, ${lengths}`,
      });
      tf.dispose([x, found.y, plain.y, expected, truth]);
      disposeRotary(rotary);
    },
  );

  test.each(cases)(
    'of the tower is seven dispatches, and nine with an adapter: $weights, $lengths',
    async ({ lengths, weights }) => {
      const recipe = RECIPES[weights];
      const { vision: c } = config;
      const attrs = { heads: c.numHeads, cuSeqlens: cumulate(lengths) };
      const P = attrs.cuSeqlens[lengths.length];
      const x = gaussianTensor([P, c.hiddenSize], 3);
      const rotary = tables(P, c.headDim);
      const bare = blockOf<Parameters<typeof visionBlock>[0]>(visionBlockSpec('blocks.0', c), recipe);
      for (const [block, most] of [
        [bare, 7],
        [withLora(bare, recipe), 9],
      ] as const) {
        const run = () => visionBlock(block, x, rotary, attrs);
        tf.dispose(run());
        const { y, ours, all } = counted(run);
        expect({ ours, all }).toEqual({ ours: most, all: most });
        const expected = composed(run);
        await expectTensorClose(y, expected, {
          relativeToMax: 1e-5,
          what: `vision block, ${weights}, ${lengths}`,
        });
        tf.dispose([y, expected]);
      }
      tf.dispose(x);
      disposeRotary(rotary);
    },
  );
});
