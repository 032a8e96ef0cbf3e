import type * as tf from '@tensorflow/tfjs-core';
import type { Dtype } from '../../weights/dtypes.ts';
import {
  boolAttr,
  type Handle,
  int32Handle,
  release,
  runOp,
  runOpToTensor,
  type TfDtype,
  typeAttr,
} from '../tensorflow-binding.ts';
import { hostStore } from './host-store.ts';
import { float32Matrix, type Matrix } from './matrix.ts';
import type { MatrixStore, RawMatrix } from './matrix-store.ts';

const TYPES: Partial<Record<Dtype, TfDtype>> = { F32: 'float32', F16: 'float16', BF16: 'bfloat16' };

/**
 * Matrices inside native TensorFlow, which knows bfloat16 although TF.js does not: words are handed over as int32, bitcast,
 * turned there, and cast to float32 before each use. A cast of 22 million weights takes about a tenth of the matmul that
 * follows at 16 rows; a bfloat16 matmul itself is several times slower than float32 on CPUs without such units.
 */
export const tensorflowStore: MatrixStore = {
  float32: (raw) => {
    const type = TYPES[raw.dtype];
    if (!type || isOdd(raw)) return hostStore.float32(raw);
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
    const type = TYPES[raw.dtype];
    if (!type || type === 'float32' || isOdd(raw)) return tensorflowStore.float32(raw);
    return packedMatrix(takeIn(raw, type), type, raw);
  },
};

// Two 16-bit words travel as one int32.
const isOdd = ({ bytes }: RawMatrix): boolean => bytes.byteLength % 4 !== 0;

function packedMatrix(turned: Handle, type: TfDtype, { inSize, outSize, bytes }: RawMatrix): Matrix {
  let held = true;
  return {
    inSize,
    outSize,
    storage: 'packed',
    bytes: bytes.byteLength,
    dense: () => widen(turned, type),
    dispose: () => {
      if (held) release(turned);
      held = false;
    },
  };
}

const widen = (handle: Handle, type: TfDtype): tf.Tensor2D =>
  runOpToTensor(
    'Cast',
    [typeAttr('SrcT', type), typeAttr('DstT', 'float32'), boolAttr('Truncate', false)],
    [handle],
  ) as tf.Tensor2D;

/** Bytes of [out, in] → a TensorFlow tensor [in, out] of their own type. */
function takeIn({ bytes, outSize, inSize }: RawMatrix, type: TfDtype): Handle {
  const words = int32Handle([bytes.byteLength / 4], wordsOf(bytes, outSize === 1 || inSize === 1));
  // Bitcast to a type of half the size adds an axis of 2; to one of equal size it keeps the shape.
  const typed = runOp('Bitcast', [typeAttr('T', 'int32'), typeAttr('type', type)], [words]);
  const shape = int32Handle([2], Int32Array.of(outSize, inSize));
  const matrix = runOp('Reshape', [typeAttr('T', type), typeAttr('Tshape', 'int32')], [typed, shape]);
  const order = int32Handle([2], Int32Array.of(1, 0));
  const turned = runOp('Transpose', [typeAttr('T', type), typeAttr('Tperm', 'int32')], [matrix, order]);
  release(words, typed, shape, matrix, order);
  return turned;
}

/**
 * The bytes as int32. They are only lent, and TensorFlow may go on reading the array it was given: the transpose copies
 * out of it at once, except that of a single row or column, which is the same memory in another shape.
 */
function wordsOf(bytes: Uint8Array, copy: boolean): Int32Array {
  const own = copy || bytes.byteOffset % 4 !== 0 ? bytes.slice() : bytes;
  return new Int32Array(own.buffer, own.byteOffset, own.byteLength / 4);
}
