import * as tf from '@tensorflow/tfjs-core';
import { multiVectors, singleVectors } from '../heads/heads.ts';
import { type Linear, linear, linearSpec } from '../layers/linear.ts';
import { type Mlp, mlp, mlpSpec } from '../layers/mlp.ts';
import { type RmsNorm, rmsNorm, rmsNormSpec } from '../layers/rms-norm.ts';
import { tensorSpec } from '../layers/spec.ts';
import { gatherRows } from './gather-rows.ts';
import { type LayerKind, withLast } from './layer-kind.ts';

// The layers that know nothing of positions, and the two heads.

export type LinearOptions = { readonly outSize: number; readonly bias?: boolean };

export const linearKind: LayerKind<LinearOptions, Linear> = {
  input: 'rows',
  width: () => null,
  spec: ({ outSize, bias = true }, width) => linearSpec('linear', width, outSize, { bias }),
  call: (p, x) => linear(p, x),
  outputShape: (shape, { outSize }) => withLast(shape, outSize),
};

export type RmsNormOptions = { readonly eps: number };

export const rmsNormKind: LayerKind<RmsNormOptions, RmsNorm> = {
  input: 'rows',
  width: () => null,
  spec: (_, width) => rmsNormSpec('norm', width),
  call: (p, x, { eps }) => rmsNorm(p, x, eps),
  outputShape: (shape) => shape,
};

export type MlpOptions = { readonly intermediateSize: number; readonly bias?: boolean };

export const mlpKind: LayerKind<MlpOptions, Mlp> = {
  input: 'rows',
  width: () => null,
  spec: ({ intermediateSize, bias = false }, width) => mlpSpec('mlp', width, intermediateSize, bias),
  call: (p, x) => tf.tidy(() => mlp(p, x, tf.zerosLike(x))),
  outputShape: (shape) => shape,
};

export type EmbeddingOptions = { readonly vocabSize: number; readonly hiddenSize: number };

/** Rows of a table that can be trained. Ids outside it are not noticed here: the values are on the device. */
export const embeddingKind: LayerKind<EmbeddingOptions, tf.Tensor2D> = {
  input: 'ids',
  width: () => null,
  spec: ({ vocabSize, hiddenSize }) => tensorSpec('table', vocabSize, hiddenSize),
  call: (table, ids) => gatherRows(table, tf.cast(tf.reshape(ids, [-1]), 'int32')),
  outputShape: (shape, { hiddenSize }) => [...shape, hiddenSize],
};

export type SingleVectorOptions = { readonly size: number; readonly normalize?: boolean };

/** Mean over each sequence, cut to a Matryoshka size, normalised.   [batch, T, D] → [batch, size] */
export const singleVectorKind: LayerKind<SingleVectorOptions, Record<string, never>> = {
  input: 'sequences',
  width: () => null,
  spec: () => ({}),
  call: (_, x, { size, normalize = true }, { batch, rows }) => {
    const spans = Array.from({ length: batch }, (_, i) => ({ begin: i * rows, end: (i + 1) * rows }));
    return singleVectors(x, spans, { size, normalize });
  },
  outputShape: ([batch], { size }) => [batch, size],
};

export type MultiVectorOptions = { readonly size: number };

/** A unit vector for every row, through the projector.   [..., D] → [..., size] */
export const multiVectorKind: LayerKind<MultiVectorOptions, Linear> = {
  input: 'rows',
  width: () => null,
  spec: ({ size }, width) => linearSpec('projector', width, size, { bias: true }),
  call: (p, x) => multiVectors(p, x),
  outputShape: (shape, { size }) => withLast(shape, size),
};
