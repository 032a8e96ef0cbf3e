import type * as tf from '@tensorflow/tfjs-core';
import { tensorUsage, type WebGpu } from './backend.ts';

type Uploading = {
  readonly bufferManager: { acquireIdle(size: number, usage: number): GPUBuffer };
  readonly tensorMap: { get(dataId: object): Data };
};

type Data = {
  resource?: GPUBuffer;
  readonly dtype: tf.DataType;
  readonly shape: readonly number[];
  values: tf.TypedArray | null;
};

/**
 * Has a backend write the values of a tensor through the queue, into a buffer of the pool. TF.js makes a second buffer of that
 * size at every upload to stage them, ends the compute pass, and records a copy. The write comes before all that is recorded and
 * not yet submitted, none of which uses an idle buffer.
 */
export function uploadThroughQueue(backend: WebGpu): void {
  const uploading = backend as unknown as Uploading;
  const stock = backend.uploadToGPU.bind(backend);
  backend.uploadToGPU = (dataId) => {
    const data = uploading.tensorMap.get(dataId);
    const words = data.resource || !data.values ? null : wordsOf(data.dtype, data.values);
    if (!words || words.length === 0) return stock(dataId);
    data.resource = uploading.bufferManager.acquireIdle(words.byteLength, tensorUsage());
    backend.queue.writeBuffer(data.resource, 0, words);
    data.values = null;
  };
}

/** Values as they lie on the GPU: four bytes each.   Null for other types. */
function wordsOf(
  dtype: tf.DataType,
  values: tf.TypedArray,
): Float32Array<ArrayBuffer> | Int32Array<ArrayBuffer> | null {
  if (dtype === 'float32')
    return (values instanceof Float32Array ? values : new Float32Array(values)) as Float32Array<ArrayBuffer>;
  if (dtype === 'int32' || dtype === 'bool')
    return (values instanceof Int32Array ? values : new Int32Array(values)) as Int32Array<ArrayBuffer>;
  return null;
}
