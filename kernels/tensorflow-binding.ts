import * as tf from '@tensorflow/tfjs-core';

// The N-API binding of tfjs-node runs any TensorFlow op by name, also on element types that TF.js has no word for.
// (tfjs-node: nodejs_kernel_backend.ts, executeOp; TensorFlow: c/eager/c_api.h)

/** Handle of a TensorFlow tensor that TF.js does not know about. Freed only by `release`. */
export type Handle = number & { readonly handle: unique symbol };

type Attr = { readonly name: string; readonly type: number; readonly value: unknown };
type Output = { readonly id: Handle; readonly dtype: number; readonly shape: number[] };

interface Binding {
  readonly TF_FLOAT: number;
  readonly TF_INT32: number;
  readonly TF_ATTR_TYPE: number;
  readonly TF_ATTR_BOOL: number;
  readonly TF_ATTR_INT: number;
  readonly TF_ATTR_FLOAT: number;
  readonly TF_ATTR_STRING: number;
  createTensor(shape: readonly number[], dtype: number, values: Int32Array | Float32Array): Handle;
  executeOp(name: string, attrs: readonly Attr[], inputs: readonly Handle[], outputs: number): Output[];
  deleteTensor(handle: Handle): void;
}

type NodeBackend = {
  readonly binding: Binding;
  getInputTensorIds(tensors: readonly tf.TensorInfo[]): Handle[];
  createOutputTensor(output: Output): tf.Tensor;
};

/** Element types by TensorFlow's enum (core/framework/types.proto). */
export const TF_DTYPE = { float32: 1, int32: 3, uint8: 4, int8: 6, bfloat16: 14, float16: 19 } as const;
export type TfDtype = keyof typeof TF_DTYPE;

const node = (): NodeBackend => tf.backend() as unknown as NodeBackend;

export const typeAttr = (name: string, dtype: TfDtype): Attr => ({
  name,
  type: node().binding.TF_ATTR_TYPE,
  value: TF_DTYPE[dtype],
});
export const boolAttr = (name: string, value: boolean): Attr => ({
  name,
  type: node().binding.TF_ATTR_BOOL,
  value,
});
export const intAttr = (name: string, value: number): Attr => ({
  name,
  type: node().binding.TF_ATTR_INT,
  value,
});

/** Runs an op on handles; the one result is the caller's to release. */
export const runOp = (name: string, attrs: readonly Attr[], inputs: readonly Handle[]): Handle =>
  node().binding.executeOp(name, attrs, inputs, 1)[0].id;

/** Runs an op on handles; the one result becomes an ordinary tensor, float32 or int32. */
export const runOpToTensor = (name: string, attrs: readonly Attr[], inputs: readonly Handle[]): tf.Tensor =>
  node().createOutputTensor(node().binding.executeOp(name, attrs, inputs, 1)[0]);

const castAttrs = (from: TfDtype, to: TfDtype): Attr[] => [
  typeAttr('SrcT', from),
  typeAttr('DstT', to),
  boolAttr('Truncate', false),
];

/** The values in another type; the caller's to release. */
export const cast = (handle: Handle, from: TfDtype, to: TfDtype): Handle =>
  runOp('Cast', castAttrs(from, to), [handle]);

/** The values in float32, as an ordinary tensor. */
export const castToTensor = (handle: Handle, from: TfDtype): tf.Tensor =>
  runOpToTensor('Cast', castAttrs(from, 'float32'), [handle]);

/** The handles of ordinary tensors; they stay TF.js's. */
export const handlesOf = (...tensors: readonly tf.Tensor[]): Handle[] => node().getInputTensorIds(tensors);

export const release = (...handles: readonly Handle[]): void => {
  for (const handle of handles) node().binding.deleteTensor(handle);
};

export const int32Handle = (shape: readonly number[], values: Int32Array): Handle =>
  node().binding.createTensor(shape, TF_DTYPE.int32, values);
