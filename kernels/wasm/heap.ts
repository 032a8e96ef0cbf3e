import * as tf from '@tensorflow/tfjs-core';
import { DeviceError } from '../../src/errors.ts';

/** What this folder uses of TF.js's WebAssembly backend: tensors are stretches of one memory that other modules can share. */
export type WasmBackend = tf.KernelBackend & {
  readonly wasm: {
    readonly wasmMemory?: WebAssembly.Memory;
    readonly asm: Readonly<Record<string, unknown>>;
    _malloc: (bytes: number) => number;
    _free(address: number): void;
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

const guarded = new WeakSet<object>();

/**
 * Lets a full heap throw a DeviceError where a tensor is asked for. Stock, it says so by the address 0, which TF.js takes for
 * one: the next op would write over the program's own numbers. Idempotent.
 */
export function refuseFullHeap({ wasm }: WasmBackend): void {
  if (guarded.has(wasm)) return;
  guarded.add(wasm);
  wasm._free(wasm._malloc(1)); // the first call puts the true function in the place of a stub
  const malloc = wasm._malloc;
  wasm._malloc = (bytes) => {
    const address = malloc(bytes);
    if (address === 0 && bytes > 0)
      throw new DeviceError(
        `the WebAssembly heap, which ends at 4 GB, has no room for ${bytes} bytes more: use a smaller batchSize or ` +
          'tokenBudget, shorter inputs, or residence "streamed"',
      );
    return address;
  };
}

/** Memory that is never given back: for what lives as long as the backend. → address in bytes */
export const reserve = ({ wasm }: WasmBackend, bytes: number): number => wasm._malloc(bytes) >>> 0;

/** Where a tensor begins in the memory, in bytes. One that lives on another backend is moved here first. */
export const addressOf = (backend: WasmBackend, tensor: tf.TensorInfo): number =>
  backend.dataIdMap.get(tensor.dataId).memoryOffset;

/** A float32 tensor whose values are still to be written. */
export const emptyTensor = <T extends tf.Tensor>(backend: WasmBackend, shape: number[]): T =>
  tf.engine().makeTensorFromTensorInfo(backend.makeOutput(shape, 'float32'), backend) as T;
