/** Gives a backend the bodies and the matrix store that this project has for it. Idempotent. */
export async function registerBodies(backend: string): Promise<void> {
  if (backend === 'tensorflow') (await import('./bodies-tensorflow.ts')).registerTensorflowBodies();
  if (backend === 'wasm') (await import('./bodies-wasm.ts')).registerWasmBodies();
  if (backend === 'webgpu') (await import('./bodies-webgpu.ts')).registerWebgpuBodies();
}
