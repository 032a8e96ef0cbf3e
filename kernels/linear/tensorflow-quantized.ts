import type * as tf from '@tensorflow/tfjs-core';
import { GROUP, quantRowBytes } from '../../weights/quantization.ts';
import {
  cast,
  type Handle,
  int32Handle,
  intAttr,
  release,
  runOp,
  runOpToTensor,
  type TfDtype,
  typeAttr,
} from '../tensorflow-binding.ts';
import type { Matrix } from './matrix.ts';
import type { QuantizedMatrix } from './matrix-store.ts';
import { inWords, takeIn } from './tensorflow-words.ts';

/**
 * Quantised matrices inside native TensorFlow: bytes are turned there once, and become float32 just before each use by
 * TensorFlow's own ops. Null where bytes do not make whole words, or a row no whole groups: such a matrix is small.
 */
export function quantizedOnTensorflow({ format, rows, outSize, inSize }: QuantizedMatrix): Matrix | null {
  if (!inWords(rows.codes) || !inWords(rows.scales)) return null;
  if (format === 'int4' && inSize % GROUP !== 0) return null;
  const bytes = quantRowBytes(format, inSize);
  const int8 = format === 'int8';
  const codes = takeIn({ bytes: rows.codes, outSize, inSize: bytes.codes }, int8 ? 'int8' : 'uint8');
  const scales = int8
    ? takeIn({ bytes: rows.scales, outSize, inSize: 1 }, 'float32')
    : takeIn({ bytes: rows.scales, outSize, inSize: inSize / GROUP }, 'float16');
  let held = true;
  return {
    inSize,
    outSize,
    storage: 'packed',
    bytes: rows.codes.byteLength + rows.scales.byteLength,
    dense: () => (int8 ? widenInt8(codes, scales) : widenInt4(codes, scales, inSize, outSize)),
    dispose: () => {
      if (held) release(codes, scales);
      held = false;
    },
  };
}

/** codes: [in, out] int8, scales: [1, out] float32 → [in, out] */
function widenInt8(codes: Handle, scales: Handle): tf.Tensor2D {
  const wide = cast(codes, 'int8', 'float32');
  const product = runOpToTensor('Mul', [typeAttr('T', 'float32')], [wide, scales]) as tf.Tensor2D;
  release(wide);
  return product;
}

/** codes: [in / 2, out] uint8, scales: [in / 32, out] float16 → [in, out] */
function widenInt4(codes: Handle, scales: Handle, inSize: number, outSize: number): tf.Tensor2D {
  const groups = inSize / GROUP;
  const shape = (h: Handle, type: TfDtype, ...sizes: number[]) => {
    const to = int32Handle([sizes.length], Int32Array.from(sizes));
    const shaped = runOp('Reshape', [typeAttr('T', type), typeAttr('Tshape', 'int32')], [h, to]);
    release(h, to);
    return shaped;
  };
  const pair = (name: string, type: TfDtype, x: Handle, y: Handle) =>
    runOp(name, [typeAttr('T', type)], [x, y]);
  const [mask, four, eight] = [byte(15, 'uint8'), byte(4, 'uint8'), byte(8, 'int8')];
  const low = shape(pair('BitwiseAnd', 'uint8', codes, mask), 'uint8', groups, GROUP / 2, outSize);
  const high = shape(pair('RightShift', 'uint8', codes, four), 'uint8', groups, GROUP / 2, outSize);
  const axis = int32Handle([], Int32Array.of(1));
  const nibbles = runOp(
    'ConcatV2',
    [typeAttr('T', 'uint8'), typeAttr('Tidx', 'int32'), intAttr('N', 2)],
    [low, high, axis],
  );
  const signed = runOp('Bitcast', [typeAttr('T', 'uint8'), typeAttr('type', 'int8')], [nibbles]);
  const whole = pair('Sub', 'int8', signed, eight);
  const wide = cast(whole, 'int8', 'float32');
  const steps = shape(cast(scales, 'float16', 'float32'), 'float32', groups, 1, outSize);
  const product = pair('Mul', 'float32', wide, steps);
  const to = int32Handle([2], Int32Array.of(inSize, outSize));
  const dense = runOpToTensor(
    'Reshape',
    [typeAttr('T', 'float32'), typeAttr('Tshape', 'int32')],
    [product, to],
  );
  release(mask, four, eight, low, high, axis, nibbles, signed, whole, wide, steps, product, to);
  return dense as tf.Tensor2D;
}

function byte(value: number, type: TfDtype): Handle {
  const whole = int32Handle([], Int32Array.of(value));
  const small = cast(whole, 'int32', type);
  release(whole);
  return small;
}
