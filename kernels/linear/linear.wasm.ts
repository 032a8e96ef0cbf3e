import * as tf from '@tensorflow/tfjs-core';
import type { Gemm, Product } from '../wasm/gemm.ts';
import { addressOf, emptyTensor, type WasmBackend, wasmBackend } from '../wasm/heap.ts';
import { addLora, isPlain, type LinearInputs, leave } from './linear.ts';
import type { Matrix } from './matrix.ts';
import { isOnHeap } from './wasm-store.ts';

/**
 * The bias joins the first product, narrow weights are widened inside it, and low-rank terms are added to its result in place;
 * terms of more than two matrices (DoRA, a bias of B) go on top of it in stock ops.
 * Ladder, one decoder block of the published size at 64 tokens: bench/README.md, "WebAssembly".
 */
export const wasmLinear =
  (gemm: Gemm) =>
  (inputs: LinearInputs): tf.Tensor2D => {
    const { x, weight, bias, lora } = inputs;
    const backend = wasmBackend();
    const y = emptyTensor<tf.Tensor2D>(backend, [x.shape[0], weight.outSize]);
    multiply(gemm, backend, x, weight, y, { bias: bias ? addressOf(backend, bias) : 0 });
    if (!lora.every(isPlain)) return leave(addLora(y, x, lora, bias), inputs);
    for (const { a, b, scale, activation, rows: { begin, end } = { begin: 0, end: x.shape[0] } } of lora) {
      const low = emptyTensor<tf.Tensor2D>(backend, [end - begin, a.outSize]);
      multiply(gemm, backend, x, a, low, {}, { from: begin });
      const mid = activation === 'relu' ? tf.relu(low) : low;
      multiply(gemm, backend, mid, b, y, { accumulate: true, alpha: scale }, { to: begin });
    }
    return leave(y, inputs);
  };

/** Rows of x from `from` on into rows of y from `to` on: as many as the one that is read, or written, whole has. */
function multiply(
  gemm: Gemm,
  backend: WasmBackend,
  x: tf.Tensor2D,
  weight: Matrix,
  y: tf.Tensor2D,
  rest: Pick<Product, 'bias' | 'accumulate' | 'alpha'>,
  { from = 0, to = 0 } = {},
): void {
  const m = Math.min(x.shape[0] - from, y.shape[0] - to);
  const k = x.shape[1];
  const n = weight.outSize;
  // A tensor's address is taken after the last allocation: nothing moves, but `dense` may bring a tensor here.
  const at = (tensor: tf.Tensor, stride: number, row = 0) => ({
    address: addressOf(backend, tensor) + stride * row,
    stride,
  });
  const b = isOnHeap(weight)
    ? {
        layout: weight.layout,
        b: at(weight.rows.tensor, weight.rows.rowBytes),
        scales: weight.scales && at(weight.scales.tensor, weight.scales.rowBytes),
      }
    : { layout: 'rows' as const, b: at(weight.dense(), 4 * n) };
  gemm.multiply({
    m,
    n,
    k,
    a: at(x, 4 * k, from),
    ...b,
    c: at(y, 4 * n, to),
    ...rest,
  });
}
