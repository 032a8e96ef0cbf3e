import type * as tf from '@tensorflow/tfjs-core';
import type { Dtype } from '../../weights/dtypes.ts';
import {
  castToTensor,
  type Handle,
  release,
  runOpToTensor,
  type TfDtype,
  typeAttr,
} from '../tensorflow-binding.ts';
import { hostStore } from './host-store.ts';
import { float32Matrix, type Matrix } from './matrix.ts';
import { type FloatMatrix, isQuantized, type MatrixStore } from './matrix-store.ts';
import { quantizedOnTensorflow } from './tensorflow-quantized.ts';
import { inWords, takeIn } from './tensorflow-words.ts';

const TYPES: Partial<Record<Dtype, TfDtype>> = { F32: 'float32', F16: 'float16', BF16: 'bfloat16' };

/** A matrix [in, out] in TensorFlow's own 16-bit type. The handle stays the matrix's. */
export type TypedMatrix = Matrix & { readonly typed: Handle; readonly type: TfDtype };

export const isTyped = (matrix: Matrix): matrix is TypedMatrix => 'typed' in matrix;

/**
 * Matrices inside native TensorFlow, which knows bfloat16 although TF.js does not: words are handed over as int32, bitcast,
 * turned there, and cast to float32 before each use. A cast of 22 million weights takes about a tenth of the matmul that
 * follows at 16 rows; a bfloat16 matmul itself is several times slower than float32 on CPUs without such units.
 */
export const tensorflowStore: MatrixStore = {
  float32: (raw) => {
    if (isQuantized(raw)) return hostStore.float32(raw);
    const type = TYPES[raw.dtype];
    if (!type || !inWords(raw.bytes)) return hostStore.float32(raw);
    const turned = takeIn(raw, type);
    if (type === 'float32') {
      const tensor = runOpToTensor('Identity', [typeAttr('T', 'float32')], [turned]) as tf.Tensor2D;
      release(turned);
      return float32Matrix(tensor);
    }
    const tensor = widen(turned, type);
    release(turned);
    return float32Matrix(tensor);
  },
  packed: (raw) => {
    if (isQuantized(raw)) return quantizedOnTensorflow(raw) ?? hostStore.packed(raw);
    const type = TYPES[raw.dtype];
    if (!type || type === 'float32' || !inWords(raw.bytes)) return tensorflowStore.float32(raw);
    return packedMatrix(takeIn(raw, type), type, raw);
  },
};

function packedMatrix(turned: Handle, type: TfDtype, { inSize, outSize, bytes }: FloatMatrix): TypedMatrix {
  let held = true;
  return {
    inSize,
    outSize,
    storage: 'packed',
    bytes: bytes.byteLength,
    typed: turned,
    type,
    dense: () => widen(turned, type),
    dispose: () => {
      if (held) release(turned);
      held = false;
    },
  };
}

const widen = (handle: Handle, type: TfDtype): tf.Tensor2D => castToTensor(handle, type) as tf.Tensor2D;
