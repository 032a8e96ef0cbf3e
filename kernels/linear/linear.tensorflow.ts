import * as tf from '@tensorflow/tfjs-core';
import { kernelSettings } from '../product-settings.ts';
import {
  boolAttr,
  cast,
  castToTensor,
  type Handle,
  handlesOf,
  release,
  runOp,
  typeAttr,
} from '../tensorflow-binding.ts';
import { addLora, composedLinear, type LinearInputs, leave } from './linear.ts';
import type { Matrix } from './matrix.ts';
import { isTyped } from './tensorflow-store.ts';

/**
 * x W + b with the product in float16, which the tensor cores of an NVIDIA GPU make with float32 sums; low-rank terms, bias
 * and all else stay float32. Only for callers of `compute: 'float16'`. Float16 ends at 65504 and activations of this model do
 * not, so each row of x is divided by its largest magnitude, and its results are multiplied by it again.
 */
export function tensorflowLinear(inputs: LinearInputs): tf.Tensor2D {
  if (!kernelSettings().half) return composedLinear(inputs);
  const { x, weight, bias, lora } = inputs;
  const size = tf.maximum(tf.max(tf.abs(x), 1, true), LEAST) as tf.Tensor2D; //                 [T, 1]
  let y: tf.Tensor2D = tf.mul(halfProduct(tf.div(x, size), weight), size); //                   [T, out]
  if (bias) y = tf.add(y, bias);
  return leave(addLora(y, x, lora, bias), inputs);
}

const LEAST = 1e-30; // a row of zeros is divided by something

function halfProduct(x: tf.Tensor2D, weight: Matrix): tf.Tensor2D {
  const [row] = handlesOf(x);
  const narrow = cast(row, 'float32', 'float16');
  const matrix = halfOf(weight);
  const product = runOp(
    'MatMul',
    [boolAttr('transpose_a', false), boolAttr('transpose_b', false), typeAttr('T', 'float16')],
    [narrow, matrix],
  );
  const y = castToTensor(product, 'float16') as tf.Tensor2D;
  release(narrow, matrix, product);
  return y;
}

/** A matrix in float16, the caller's to release. One that is kept in 16 bits never becomes float32 on the way. */
function halfOf(weight: Matrix): Handle {
  if (isTyped(weight)) return cast(weight.typed, weight.type, 'float16');
  return cast(handlesOf(weight.dense())[0], 'float32', 'float16');
}
