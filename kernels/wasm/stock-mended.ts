import * as tf from '@tensorflow/tfjs-core';
import { addressOf, memoryOf, type WasmBackend } from './heap.ts';

/**
 * Replaces three stock kernels of the WebAssembly backend that copy more than they must; training runs them by the hundred.
 * Identity copies its tensor (the tape clones all that it keeps), and Slice and SplitV copy their whole input first, for
 * every part. Same values. Idempotent.
 */
export function mendStockKernels(): void {
  replace(
    tf.Identity,
    () =>
      ({ inputs, backend }) =>
        shared(backend as tf.KernelBackend, inputs.x as tf.TensorInfo),
  );
  replace(tf.Slice, (stock) => (call) => {
    const { x } = call.inputs as { x: tf.TensorInfo };
    const attrs = call.attrs as unknown as tf.SliceAttrs;
    const [begin, size] = tf.slice_util.parseSliceParams(x as tf.Tensor, attrs.begin, attrs.size);
    return isWords(x) ? copied(call.backend as WasmBackend, x, begin, size) : stock(call);
  });
  replace(tf.SplitV, (stock) => (call) => {
    const { x } = call.inputs as { x: tf.TensorInfo };
    if (!isWords(x)) return stock(call);
    const { numOrSizeSplits, axis } = call.attrs as unknown as tf.SplitVAttrs;
    const along = tf.util.parseAxisParam(axis, x.shape)[0];
    const begin = x.shape.map(() => 0);
    return tf.backend_util.prepareSplitSize(x as tf.Tensor, numOrSizeSplits, along).map((length) => {
      const size = x.shape.map((n, i) => (i === along ? length : n));
      const part = copied(call.backend as WasmBackend, x, begin, size);
      begin[along] += length;
      return part;
    });
  });
}

const replaced = new Set<string>();

function replace(kernelName: string, mend: (stock: tf.KernelFunc) => tf.KernelFunc): void {
  const stock = tf.getKernel(kernelName, 'wasm');
  if (!stock || replaced.has(kernelName)) return;
  tf.unregisterKernel(kernelName, 'wasm');
  tf.registerKernel({ ...stock, kernelFunc: mend(stock.kernelFunc) });
  replaced.add(kernelName);
}

/** The same memory under a second name. */
function shared(backend: tf.KernelBackend, x: tf.TensorInfo): tf.TensorInfo {
  backend.incRef(x.dataId);
  return { dataId: x.dataId, shape: x.shape, dtype: x.dtype };
}

const isWords = ({ dtype }: tf.TensorInfo): boolean => dtype === 'float32' || dtype === 'int32';

/** A box of a tensor of 4-byte values, copied run by run: a run is what lies together in memory. */
function copied(backend: WasmBackend, x: tf.TensorInfo, begin: number[], size: number[]): tf.TensorInfo {
  const out = backend.makeOutput(size, x.dtype);
  const words = new Int32Array(memoryOf(backend).buffer);
  const from = addressOf(backend, x) >>> 2;
  let to = addressOf(backend, out) >>> 2;
  const strides = tf.util.computeStrides(x.shape).concat(1);
  let inner = size.length - 1;
  while (inner > 0 && size[inner] === x.shape[inner]) inner--; // axes behind `inner` are whole
  const run = size.length === 0 ? 1 : size[inner] * strides[inner];
  const count = tf.util.sizeFromShape(size.slice(0, Math.max(0, inner)));
  const at = begin.slice(0, Math.max(0, inner));
  for (let i = 0; i < count; i++, to += run) {
    let place = from + (size.length === 0 ? 0 : begin[inner] * strides[inner]);
    for (let axis = 0; axis < at.length; axis++) place += at[axis] * strides[axis];
    words.copyWithin(to, place, place + run);
    for (let axis = at.length - 1; axis >= 0 && ++at[axis] === begin[axis] + size[axis]; axis--)
      at[axis] = begin[axis];
  }
  return out;
}
