import { gemmOn } from './gemm.ts';
import type { WasmBackend } from './heap.ts';
import type { SpawnThread } from './thread.ts';

/**
 * Gives the products on a WebAssembly backend `threads` threads, the caller's included. → what there are then: fewer where
 * workers do not start (a page's security policy may forbid them).
 */
export async function startGemmThreads(
  backend: object,
  threads: number,
  spawn: SpawnThread,
): Promise<number> {
  const gemm = gemmOn(backend as WasmBackend);
  await gemm?.addThreads(threads - 1, spawn).catch(() => {});
  return gemm?.threads ?? 1;
}
