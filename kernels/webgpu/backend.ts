import * as tf from '@tensorflow/tfjs-core';

/**
 * What this folder uses of TF.js's WebGPU backend (backend_webgpu.ts of 4.22). Commands are recorded into its own encoder and
 * pass, so that ours and stock ops run in program order; half of these fields are private in its types.
 */
export type WebGpu = tf.KernelBackend & {
  readonly device: GPUDevice;
  readonly queue: GPUQueue;
  readonly tensorMap: { has(dataId: object): boolean; get(dataId: object): { resource?: GPUBuffer } };
  readonly bufferManager: { acquireIdle(size: number, usage: number): GPUBuffer };
  readonly commandEncoder: GPUCommandEncoder;
  computePassEncoder: GPUComputePassEncoder | null;
  dispatchCountInPass: number;
  /** Tensors that recorded commands use: TF.js frees them after the submit, not at `dispose` (see free-in-order.ts). */
  readonly commandQueueOwnedIds: WeakSet<object>;
  makeTensorInfo(shape: number[], dtype: tf.DataType): tf.TensorInfo;
  uploadToGPU(dataId: object): void;
  ensureCommandEncoderReady(): void;
  endComputePassEncoder(): void;
  submitQueue(): void;
};

export const webgpuBackend = (): WebGpu => tf.backend() as WebGpu;

/** The buffer of a tensor; its values are uploaded, or brought from another backend, when they are not there yet. */
export function bufferOf(backend: WebGpu, { dataId }: tf.TensorInfo): GPUBuffer {
  const data = backend.tensorMap.get(dataId); // moves the values here
  if (!data.resource) backend.uploadToGPU(dataId);
  return data.resource as GPUBuffer;
}

/** A tensor whose values are still to be written. */
export function emptyTensor<T extends tf.Tensor>(
  backend: WebGpu,
  shape: readonly number[],
  dtype: 'float32' | 'int32' = 'float32',
): T {
  const info = backend.makeTensorInfo([...shape], dtype);
  backend.uploadToGPU(info.dataId);
  return tf.engine().makeTensorFromTensorInfo(info, backend) as T;
}

/** The same for values that the queue will write: no command that is recorded uses its buffer. */
export function idleTensor(backend: WebGpu, shape: readonly number[], dtype: 'float32' | 'int32'): tf.Tensor {
  const info = backend.makeTensorInfo([...shape], dtype);
  const bytes = 4 * shape.reduce((product, n) => product * n, 1);
  backend.tensorMap.get(info.dataId).resource = backend.bufferManager.acquireIdle(bytes, tensorUsage());
  return tf.engine().makeTensorFromTensorInfo(info, backend);
}

/** How TF.js makes the buffers of tensors. */
export const tensorUsage = (): number =>
  GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
