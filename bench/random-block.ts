import * as tf from '@tensorflow/tfjs-core';
import type { Matrix } from '../kernels/index.ts';
import type { DecoderBlock } from '../src/decoder/block.ts';
import { decoderRotary, ropePositions } from '../src/decoder/positions.ts';
import type { Linear } from '../src/layers/linear.ts';
import type { Rotary } from '../src/layers/rotary.ts';
import type { LinearSpec, SpecOf, TensorSpec } from '../src/layers/spec.ts';
import { type ModelConfig, parseModelConfig } from '../src/model-config.ts';
import { isLeafSpec } from '../src/params.ts';
import { values } from './kernel-cases.ts';
import { geometryConfig, geometryNamed } from './make-checkpoint/geometries.ts';

/** A geometry's sizes as a config; there is no tokenizer. */
export const blockConfig = (geometry: string): ModelConfig =>
  parseModelConfig({
    ...geometryConfig(geometryNamed(geometry), 320),
    ...{ vision_start_token_id: 0, vision_end_token_id: 1, image_token_id: 2, task_names: ['retrieval'] },
  });

/** The rotary tables of one text.   → [T, H] each */
export const textRotary = (T: number, { decoder, tokens }: ModelConfig): Rotary =>
  decoderRotary([ropePositions(new Int32Array(T).fill(tokens.image + 1), tokens.image)], decoder);

/** A matrix from its values [out, in], the map's own or a LoRA's. */
export type MakeMatrix = (
  values: Float32Array,
  outSize: number,
  inSize: number,
  of: 'map' | 'lora',
) => Matrix;

/** A block of seeded weights with a LoRA on every map. */
export function randomBlock(spec: SpecOf<DecoderBlock>, rank: number, make: MakeMatrix): DecoderBlock {
  const fill = (node: object): unknown => {
    if (!isLeafSpec(node))
      return Object.fromEntries(Object.entries(node).map(([key, child]) => [key, fill(child)]));
    return node.leaf === 'linear'
      ? randomLinear(node, rank, make)
      : tf.ones((node as TensorSpec).shape as number[]);
  };
  return fill(spec) as DecoderBlock;
}

function randomLinear({ name, inSize, outSize, bias }: LinearSpec, rank: number, make: MakeMatrix): Linear {
  const matrix = (what: string, rows: number, columns: number, part = 1) =>
    make(
      values(`${name}.${what}`, rows * columns, part / Math.sqrt(columns)),
      rows,
      columns,
      what === 'weight' ? 'map' : 'lora',
    );
  return {
    name,
    weight: matrix('weight', outSize, inSize),
    bias: bias ? tf.zeros([outSize]) : null,
    lora: [
      { a: matrix('a', rank, inSize), b: matrix('b', outSize, rank, 0.2), scale: 1, activation: 'none' },
    ],
  };
}
