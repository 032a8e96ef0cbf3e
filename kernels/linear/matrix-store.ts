import * as tf from '@tensorflow/tfjs-core';
import type { Dtype } from '../../weights/dtypes.ts';
import type { PackedRows, QuantFormat } from '../../weights/quantization.ts';
import { hostStore } from './host-store.ts';
import type { Matrix } from './matrix.ts';

/** A matrix as it lies in a checkpoint: [out, in], row by row, little-endian. The bytes are valid during the call only. */
export type RawMatrix = FloatMatrix | QuantizedMatrix;

export type FloatMatrix = {
  readonly bytes: Uint8Array;
  readonly dtype: Dtype;
  readonly outSize: number;
  readonly inSize: number;
};

/** Integers with scales, row after row.   (weights/quantization.ts) */
export type QuantizedMatrix = {
  readonly format: QuantFormat;
  readonly rows: PackedRows;
  readonly outSize: number;
  readonly inSize: number;
};

export const isQuantized = (raw: RawMatrix): raw is QuantizedMatrix => 'format' in raw;

/** How a backend takes checkpoint matrices in. Both forms multiply to the same bits. */
export interface MatrixStore {
  /** Widened to float32 once. */
  float32(raw: RawMatrix): Matrix;
  /** Kept in its own 16-bit type, or quantised, and widened just before each use; other types become float32. */
  packed(raw: RawMatrix): Matrix;
}

const stores = new Map<string, MatrixStore>();

/** Gives a backend a store of its own. */
export function registerMatrixStore(backend: string, store: MatrixStore): void {
  stores.set(backend, store);
}

/** The store of the current backend. */
export const matrixStore = (): MatrixStore => stores.get(tf.getBackend()) ?? hostStore;
