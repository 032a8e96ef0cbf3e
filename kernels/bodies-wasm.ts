import { wasmAttention } from './attention/attention.wasm.ts';
import { wasmLinear } from './linear/linear.wasm.ts';
import { registerMatrixStore } from './linear/matrix-store.ts';
import { wasmStore } from './linear/wasm-store.ts';
import { wasmProduct } from './product/product.wasm.ts';
import { registerBody } from './registry.ts';
import { gemmOn } from './wasm/gemm.ts';
import { refuseFullHeap, wasmBackend } from './wasm/heap.ts';
import { mendStockKernels } from './wasm/stock-mended.ts';

/** Gives the WebAssembly backend, which must be the current one, its own bodies and store. Idempotent. */
export function registerWasmBodies(): void {
  mendStockKernels();
  refuseFullHeap(wasmBackend());
  const gemm = gemmOn(wasmBackend());
  if (!gemm) return; // no SIMD: the composed ops are right, and slow
  registerBody('Linear', 'wasm', wasmLinear(gemm));
  registerBody('Product', 'wasm', wasmProduct(gemm));
  registerBody('Attention', 'wasm', wasmAttention(gemm));
  registerMatrixStore('wasm', wasmStore);
}
