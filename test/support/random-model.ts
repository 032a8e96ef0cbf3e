import * as tf from '@tensorflow/tfjs-core';
import { float32Matrix, type LoraTerm, tensorTable } from '../../kernels/index.ts';
import type { Adapter } from '../../src/adapters/with-adapters.ts';
import { EmbeddingModel } from '../../src/embedding-model.ts';
import { Held } from '../../src/held.ts';
import { residentBlocks } from '../../src/layers/blocks.ts';
import type { LeafSpec } from '../../src/layers/spec.ts';
import type { ModelConfig } from '../../src/model-config.ts';
import { elements, fillTree, loraTargets, type ModelParams, modelSpec } from '../../src/params.ts';
import { gaussian } from './close.ts';

/** A model of any geometry with seeded random weights, in memory. */
export function randomModel(config: ModelConfig, seed = 1): EmbeddingModel {
  const held = new Held();
  let next = seed;
  const values = (shape: readonly number[], scale: number) =>
    gaussian(elements(shape), next++).map((v) => v * scale);
  const matrix = (rows: number, columns: number) =>
    held.keep(float32Matrix(tf.tensor2d(values([rows, columns], 1 / Math.sqrt(rows)), [rows, columns])));
  const leaf = (s: LeafSpec): unknown => {
    if (s.leaf === 'table') {
      // A row for each id would be most of a small model; few distinct ids are asked for.
      return held.keep(tensorTable(tf.tensor2d(values(s.shape, 1), [...s.shape])));
    }
    if (s.leaf === 'linear') {
      const bias = s.bias ? held.keep(tf.tensor1d(values([s.outSize], 0.1))) : null;
      return { name: s.name, weight: matrix(s.inSize, s.outSize), bias, lora: [] };
    }
    return held.keep(
      tf.tensor(
        values(s.shape, 0.1).map((v) => 1 + v),
        [...s.shape],
      ),
    );
  };
  const params = fillTree(modelSpec(config), {
    leaf,
    blocks: (specs, fill) => residentBlocks(specs.map(fill)),
  }) as ModelParams;
  return new EmbeddingModel(config, params, () => held.dispose());
}

/** A random adapter on every target of the published kind. */
export function randomAdapter(
  config: ModelConfig,
  name: string,
  rank: number,
  activation: LoraTerm['activation'],
): Adapter {
  const terms = new Map<string, LoraTerm>();
  let seed = 1000;
  const matrix = (rows: number, columns: number) =>
    float32Matrix(
      tf.tensor2d(
        gaussian(rows * columns, seed++).map((v) => v / Math.sqrt(rows)),
        [rows, columns],
      ),
    );
  for (const target of loraTargets(modelSpec(config))) {
    terms.set(target.name, {
      a: matrix(target.inSize, rank),
      b: matrix(rank, target.outSize),
      scale: 0.5,
      activation,
    });
  }
  return {
    name,
    rank,
    terms,
    parameters: 0,
    dispose: () => {
      for (const { a, b } of terms.values()) {
        a.dispose();
        b.dispose();
      }
    },
  };
}
