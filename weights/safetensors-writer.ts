import { InputError } from '../src/errors.ts';
import { byteLengthOf, type Dtype, dtypeNames, isDtype } from './dtypes.ts';

/** What a header says of a tensor. `byteLength` is checked against dtype and shape where given. */
export type TensorHeading = {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly byteLength?: number;
};

/** A tensor with its data: little-endian bytes in any typed array, in the shape's row-major order. */
export type TensorData = TensorHeading & { readonly data: ArrayBufferView };

/**
 * The first bytes of a safetensors file; the tensors' data must follow in the order given, without gaps. For a file
 * too large for memory: write this, then stream. Padded with spaces so that the data begins at a multiple of 8.
 * A name given twice, or a length that does not fit dtype and shape, is an `InputError`.
 */
export function encodeSafetensorsHeader(
  tensors: readonly TensorHeading[],
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array {
  checkHeadings(tensors);
  // Written by hand: a JavaScript object would move a tensor called "0" to the front, and swallow one called "__proto__".
  const members = Object.keys(metadata).length > 0 ? [`"__metadata__":${JSON.stringify(metadata)}`] : [];
  let at = 0;
  for (const { name, dtype, shape } of tensors) {
    const end = at + byteLengthOf(dtype, shape);
    members.push(`${JSON.stringify(name)}:${JSON.stringify({ dtype, shape, data_offsets: [at, end] })}`);
    at = end;
  }
  const json = new TextEncoder().encode(`{${members.join(',')}}`);
  const padded = Math.ceil(json.length / 8) * 8;
  const out = new Uint8Array(8 + padded).fill(0x20);
  new DataView(out.buffer).setBigUint64(0, BigInt(padded), true);
  out.set(json, 8);
  return out;
}

/** A whole safetensors file in memory. */
export function encodeSafetensors(
  tensors: readonly TensorData[],
  metadata?: Readonly<Record<string, string>>,
): Uint8Array {
  const header = encodeSafetensorsHeader(
    tensors.map((t) => ({ ...t, byteLength: t.data.byteLength })),
    metadata,
  );
  const out = new Uint8Array(tensors.reduce((sum, t) => sum + t.data.byteLength, header.length));
  out.set(header);
  let at = header.length;
  for (const { data } of tensors) {
    out.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), at);
    at += data.byteLength;
  }
  return out;
}

function checkHeadings(tensors: readonly TensorHeading[]): void {
  const seen = new Set<string>(['__metadata__']);
  for (const { name, dtype, shape, byteLength } of tensors) {
    const what = `tensor ${JSON.stringify(name)}`;
    if (seen.has(name))
      throw new InputError(`${what} is given twice, or has a name that safetensors keeps for itself`);
    seen.add(name);
    if (!isDtype(dtype))
      throw new InputError(`${what}: dtype ${dtype} is not one of ${dtypeNames.join(', ')}`);
    if (!shape.every((n) => Number.isSafeInteger(n) && n >= 0)) {
      throw new InputError(`${what}: shape [${shape.join(', ')}] must hold whole numbers, 0 or more`);
    }
    const expected = byteLengthOf(dtype, shape);
    if (byteLength !== undefined && byteLength !== expected) {
      throw new InputError(
        `${what}: ${dtype} [${shape.join(', ')}] takes ${expected} bytes, got ${byteLength}`,
      );
    }
  }
}
