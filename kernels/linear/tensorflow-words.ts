import { type Handle, int32Handle, release, runOp, type TfDtype, typeAttr } from '../tensorflow-binding.ts';

type Bytes = { readonly bytes: Uint8Array; readonly outSize: number; readonly inSize: number };

/** Whether bytes are whole int32, in which elements of any smaller size travel. */
export const inWords = (bytes: Uint8Array): boolean => bytes.byteLength % 4 === 0;

/** Bytes of [out, in] → a TensorFlow tensor [in, out] of their own type. */
export function takeIn({ bytes, outSize, inSize }: Bytes, type: TfDtype): Handle {
  const words = int32Handle([bytes.byteLength / 4], wordsOf(bytes, outSize === 1 || inSize === 1));
  // Bitcast to a type of half the size adds an axis of 2, to one of a quarter one of 4; to one of equal size it keeps the shape.
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
