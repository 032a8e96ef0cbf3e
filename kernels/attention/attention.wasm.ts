import type * as tf from '@tensorflow/tfjs-core';
import type { Gemm } from '../wasm/gemm.ts';
import { addressOf, emptyTensor, wasmBackend } from '../wasm/heap.ts';
import { type AttentionAttrs, type AttentionInputs, attendRuns, type BatchedMatMul } from './attention.ts';

/**
 * The truth with its batched matmuls by our own product, head after head in place. The stock backend multiplies batches
 * with a plain loop, ten to twenty times slower than single matrices (bench/README.md).
 */
export const wasmAttention =
  (gemm: Gemm) =>
  (inputs: AttentionInputs, attrs: AttentionAttrs): tf.Tensor2D =>
    attendRuns(inputs, attrs, oneByOne(gemm));

const oneByOne =
  (gemm: Gemm): BatchedMatMul =>
  (a, b) => {
    const backend = wasmBackend();
    const [batch, m, k] = a.shape;
    const n = b.shape[2];
    const c = emptyTensor<tf.Tensor3D>(backend, [batch, m, n]);
    const [from, by, to] = [a, b, c].map((t) => addressOf(backend, t));
    for (let i = 0; i < batch; i++) {
      gemm.multiply({
        m,
        n,
        k,
        a: { address: from + 4 * i * m * k, stride: 4 * k },
        b: { address: by + 4 * i * k * n, stride: 4 * n },
        c: { address: to + 4 * i * m * n, stride: 4 * n },
      });
    }
    return c;
  };
