import * as tf from '@tensorflow/tfjs-core';
import { widenInto } from '../../weights/dtypes.ts';
import { quantRowBytes } from '../../weights/quantization.ts';
import type { ColumnLayout } from '../wasm/widen-code.ts';
import { hostStore } from './host-store.ts';
import type { Matrix } from './matrix.ts';
import { type FloatMatrix, isQuantized, type MatrixStore, type QuantizedMatrix } from './matrix-store.ts';
import { widenQuantized } from './quantized-matrix.ts';
import { transposeWords } from './transpose-words.ts';

/** Rows [out, …] of bytes on the backend's heap, as they lie in the checkpoint. */
type HeapRows = { readonly tensor: tf.Tensor; readonly rowBytes: number };

/** A matrix whose rows stay narrow: the product widens and turns them. */
export type HeapMatrix = Matrix & {
  readonly layout: ColumnLayout;
  readonly rows: HeapRows;
  readonly scales?: HeapRows;
};

export const isOnHeap = (matrix: Matrix): matrix is HeapMatrix => 'layout' in matrix;

/** Matrices for products of our own on the WebAssembly heap. */
export const wasmStore: MatrixStore = {
  float32: hostStore.float32,
  packed: (raw) => {
    if (isQuantized(raw)) return quantizedMatrix(raw);
    return raw.dtype === 'BF16' || raw.dtype === 'F16' ? halfMatrix(raw) : hostStore.float32(raw);
  },
};

function halfMatrix({ bytes, dtype, outSize, inSize }: FloatMatrix): HeapMatrix {
  const rows = onHeap(bytes, 2 * inSize);
  return {
    inSize,
    outSize,
    storage: 'packed',
    bytes: bytes.byteLength,
    layout: dtype === 'BF16' ? 'bfloat16Columns' : 'float16Columns',
    rows,
    dense: () => {
      const widened = new Float32Array(inSize * outSize);
      widenInto(fromHeap(rows, outSize), dtype, widened);
      const turned = transposeWords(widened, outSize, inSize, new Float32Array(widened.length));
      return tf.tensor2d(turned, [inSize, outSize]);
    },
    dispose: () => rows.tensor.dispose(),
  };
}

function quantizedMatrix(raw: QuantizedMatrix): HeapMatrix {
  const { format, outSize, inSize } = raw;
  const rowBytes = quantRowBytes(format, inSize);
  const [rows, scales] = (['codes', 'scales'] as const).map((part) => onHeap(raw.rows[part], rowBytes[part]));
  return {
    inSize,
    outSize,
    storage: 'packed',
    bytes: raw.rows.codes.byteLength + raw.rows.scales.byteLength,
    layout: `${format}Columns`,
    rows,
    scales,
    dense: () => {
      const kept = { codes: fromHeap(rows, outSize), scales: fromHeap(scales, outSize) };
      return tf.tensor2d(widenQuantized({ format, rows: kept, outSize, inSize }), [inSize, outSize]);
    },
    dispose: () => tf.dispose([rows.tensor, scales.tensor]),
  };
}

/** Bytes in a tensor of whole words: the backend copies them to its heap. */
function onHeap(bytes: Uint8Array, rowBytes: number): HeapRows {
  const whole = bytes.byteLength % 4 === 0 && bytes.byteOffset % 4 === 0;
  const words = whole ? bytes : new Uint8Array(4 * Math.ceil(bytes.byteLength / 4));
  if (!whole) words.set(bytes);
  const count = words.byteLength / 4;
  return { tensor: tf.tensor1d(new Int32Array(words.buffer, words.byteOffset, count), 'int32'), rowBytes };
}

function fromHeap({ tensor, rowBytes }: HeapRows, count: number): Uint8Array {
  const words = tensor.dataSync();
  return new Uint8Array(words.buffer, words.byteOffset, count * rowBytes);
}
