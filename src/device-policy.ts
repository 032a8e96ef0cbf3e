import type { BackendName, EngineReport } from './device-engine.ts';

export type Hardware = EngineReport['hardware'];
export type Precision = 'float32' | 'float16';

/** What a device of this kind does well unless the user says otherwise. */
export type Policy = { readonly precision: Precision; readonly batchSize: number };

/** Default precision and batch size by hardware. */
export const POLICIES: Readonly<Record<Hardware, Policy>> = {
  cuda: { precision: 'float32', batchSize: 32 },
  apple: { precision: 'float32', batchSize: 16 },
  gpu: { precision: 'float32', batchSize: 16 },
  software: { precision: 'float32', batchSize: 8 },
  cpu: { precision: 'float32', batchSize: 8 },
};

/** Automatic choice: the first of these that is there. A GPU emulated in software is never chosen automatically. */
export const ORDER: readonly {
  readonly backend: BackendName;
  readonly hardware: readonly Hardware[];
  readonly why: string;
}[] = [
  { backend: 'tensorflow', hardware: ['cuda'], why: 'an NVIDIA GPU through TensorFlow is the fastest' },
  { backend: 'webgpu', hardware: ['apple', 'gpu'], why: 'there is a GPU, and WebGPU reaches it' },
  { backend: 'tensorflow', hardware: ['cpu'], why: 'native TensorFlow is the fastest on a CPU' },
  { backend: 'wasm', hardware: ['cpu'], why: 'WebAssembly runs everywhere without native code' },
  { backend: 'cpu', hardware: ['cpu'], why: 'nothing faster is there' },
];

/**
 * Whether products can be half precision there, on hardware that has it: shaders of our own on WebGPU, tensor cores through
 * TensorFlow on CUDA (a CPU has none, and is slower with it). Elsewhere a wish for float16 becomes float32, and is told.
 */
export const canHalve = (backend: BackendName, hardware: Hardware): boolean =>
  backend === 'webgpu' || (backend === 'tensorflow' && hardware === 'cuda');
