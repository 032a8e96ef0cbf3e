import * as tf from '@tensorflow/tfjs-core';

/** What this folder uses of TF.js's WebAssembly backend: tensors are stretches of one memory that other modules can share. */
export type WasmBackend = tf.KernelBackend & {
  readonly wasm: {
    readonly wasmMemory?: WebAssembly.Memory;
    readonly asm: Readonly<Record<string, unknown>>;
    _malloc(bytes: number): number;
  };
  readonly dataIdMap: { get(dataId: object): { readonly memoryOffset: number } };
  makeOutput(shape: number[], dtype: tf.DataType): tf.TensorInfo;
};

export const wasmBackend = (): WasmBackend => tf.backend() as WasmBackend;

/** The backend's memory: the threaded build keeps it by name, the plain one exports it under a name that changes. */
export function memoryOf({ wasm }: WasmBackend): WebAssembly.Memory {
  const memory =
    wasm.wasmMemory ?? Object.values(wasm.asm).find((value) => value instanceof WebAssembly.Memory);
  if (!memory) throw new Error('the WebAssembly backend shows no memory; this version of TF.js is not known');
  return memory as WebAssembly.Memory;
}

/** Memory that is never given back: for what lives as long as the backend. → address in bytes */
export const reserve = ({ wasm }: WasmBackend, bytes: number): number => wasm._malloc(bytes) >>> 0;

/** Where a tensor begins in the memory, in bytes. One that lives on another backend is moved here first. */
export const addressOf = (backend: WasmBackend, tensor: tf.TensorInfo): number =>
  backend.dataIdMap.get(tensor.dataId).memoryOffset;

/** A float32 tensor whose values are still to be written. */
export const emptyTensor = <T extends tf.Tensor>(backend: WasmBackend, shape: number[]): T =>
  tf.engine().makeTensorFromTensorInfo(backend.makeOutput(shape, 'float32'), backend) as T;
