import * as tf from '@tensorflow/tfjs-core';
import type { Gemm } from '../wasm/gemm.ts';
import { addressOf, emptyTensor, wasmBackend } from '../wasm/heap.ts';
import type { ProductAttrs, ProductInputs } from './product.ts';

/**
 * Matrix after matrix by our own product. A turned b is read by its columns as it lies; a turned a is turned first, which
 * costs little: the stock backend multiplies turned operands up to ten times slower (bench/README.md).
 */
export const wasmProduct =
  (gemm: Gemm) =>
  ({ a, b }: ProductInputs, { turnA, turnB }: ProductAttrs): tf.Tensor => {
    const backend = wasmBackend();
    const rows = turnA ? tf.transpose(a, a.rank === 3 ? [0, 2, 1] : [1, 0]) : a;
    const [m, k] = rows.shape.slice(-2);
    const n = b.shape[b.rank - (turnB ? 2 : 1)];
    const batch = a.rank === 3 ? a.shape[0] : 1;
    const c = emptyTensor(backend, [...(a.rank === 3 ? [batch] : []), m, n]);
    const [from, by, to] = [rows, b, c].map((t) => addressOf(backend, t));
    for (let i = 0; i < batch; i++) {
      gemm.multiply({
        m,
        n,
        k,
        a: { address: from + 4 * i * m * k, stride: 4 * k },
        b: { address: by + 4 * i * k * n, stride: 4 * (turnB ? k : n) },
        layout: turnB ? 'columns' : 'rows',
        c: { address: to + 4 * i * m * n, stride: 4 * n },
      });
    }
    return c;
  };
