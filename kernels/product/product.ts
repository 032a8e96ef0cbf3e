import * as tf from '@tensorflow/tfjs-core';
import { defineKernel } from '../registry.ts';

export type ProductInputs = { readonly a: tf.Tensor; readonly b: tf.Tensor };
export type ProductAttrs = { readonly turnA?: boolean; readonly turnB?: boolean };

export const composedProduct = ({ a, b }: ProductInputs, { turnA, turnB }: ProductAttrs): tf.Tensor =>
  tf.matMul(a, b, turnA, turnB);

const run = defineKernel<ProductInputs, ProductAttrs>('Product', composedProduct);

/** a · b with either side turned (its last two axes exchanged).   […, m, k] · […, k, n] → […, m, n], of rank 2 or 3 */
export const product = <T extends tf.Tensor>(a: T, b: T, attrs: ProductAttrs = {}): T =>
  run({ a, b }, attrs) as T;
