import { nibbleOf, putNibble } from '../../weights/int4-codec.ts';
import { GROUP, int4Scales, ZERO } from '../../weights/int4-scales.ts';

// Rounding with feedback: GPTQ (Frantar et al. 2023), in the form of LDLQ (Chee et al. 2023), which gives the same numbers
// without an inverse. A map's output error is e X, with e a row of W − Ŵ. With XᵀX = U D Uᵀ, U upper triangular with ones on
// its diagonal, its squared length is Σ_k D_k (e_k + Σ_{j<k} e_j U_jk)². So, column after column, weight k is rounded after the
// errors before it were added, Σ_{j<k} e_j U_jk, and every term is as small as rounding can make it.

/** The columns of a matrix [in, out] that are rounded together, and what is known of the others. Values lie column by column. */
export type Columns = {
  /** The weights as they are.   [width, out] */
  readonly weights: Float32Array;
  /** Σ e_j U_jk over the columns j before these. It is worked on.   [width, out] */
  readonly feedback: Float32Array;
  /** U between these columns, j · width + k.   [width, width] */
  readonly near: Float32Array;
  /** The first of them, a multiple of `GROUP`. */
  readonly first: number;
};

/** Where codes and float16 scales of all columns go, as they lie in a file. */
export type Int4Target = { readonly codes: Uint8Array; readonly scales: Uint16Array };

/**
 * Rounds columns to int4. The scale of a group is chosen for the weights that rounding the columns before it asks for.
 * → errors e = w − ŵ   [width, out]
 */
export function roundColumns(
  { weights, feedback, near, first }: Columns,
  outSize: number,
  groups: number,
  target: Int4Target,
): Float32Array {
  const width = weights.length / outSize;
  const errors = new Float32Array(weights.length);
  for (let begin = 0; begin < width; begin += GROUP) {
    const end = Math.min(begin + GROUP, width);
    for (let k = begin; k < end; k++)
      for (let j = 0; j < begin; j++) addColumn(feedback, k, near[j * width + k], errors, j, outSize);
    const group = (first + begin) / GROUP;
    const scales = int4Scales(wishes({ weights, feedback, near, first }, begin, end, outSize), end - begin);
    for (let row = 0; row < outSize; row++) target.scales[row * groups + group] = scales.bits[row];
    for (let k = begin; k < end; k++) {
      for (let j = begin; j < k; j++) addColumn(feedback, k, near[j * width + k], errors, j, outSize);
      for (let row = 0; row < outSize; row++) {
        const at = k * outSize + row;
        const scale = scales.widened[row];
        const nibble = scale === 0 ? ZERO : nibbleOf((weights[at] + feedback[at]) / scale);
        putNibble(target.codes, row * groups + group, k - begin, nibble);
        errors[at] = weights[at] - (nibble - ZERO) * scale;
      }
    }
  }
  return errors;
}

/** The weights of a group that would make good all errors before it, if they needed no rounding.   → [out, width of the group] */
function wishes(
  { weights, feedback, near }: Columns,
  begin: number,
  end: number,
  outSize: number,
): Float32Array {
  const width = weights.length / outSize;
  const size = end - begin;
  const back = feedback.slice(begin * outSize, end * outSize);
  // An error of −feedback takes a column's term away.
  for (let k = 0; k < size; k++)
    for (let j = 0; j < k; j++) addColumn(back, k, -near[(begin + j) * width + begin + k], back, j, outSize);
  const values = new Float32Array(size * outSize);
  for (let k = 0; k < size; k++)
    for (let row = 0; row < outSize; row++)
      values[row * size + k] = weights[(begin + k) * outSize + row] + back[k * outSize + row];
  return values;
}

/** Column k of `to` += factor · column j of `from`. */
function addColumn(
  to: Float32Array,
  k: number,
  factor: number,
  from: Float32Array,
  j: number,
  outSize: number,
): void {
  const at = k * outSize;
  const source = j * outSize;
  for (let row = 0; row < outSize; row++) to[at + row] += factor * from[source + row];
}
