import { wasmAttention } from './attention/attention.wasm.ts';
import { registerBody } from './registry.ts';

/** Gives the WebAssembly backend its own bodies. Idempotent. */
export function registerWasmBodies(): void {
  registerBody('Attention', 'wasm', wasmAttention);
}
