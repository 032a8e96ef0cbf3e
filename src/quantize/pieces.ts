import { bytesPerElement, type Dtype, widenInto } from '../../weights/dtypes.ts';
import { narrowToBf16, narrowToF16 } from '../../weights/narrow.ts';
import { encodeRows, INT4_LARGEST } from '../../weights/quantization.ts';
import { CheckpointError } from '../errors.ts';
import { type PlannedTensor, rowWidth, type SourceFile } from './plan.ts';

/** Bytes of one read: what is held of the source, two at a time. */
const CHUNK = 4 * 2 ** 20;

export type Piece = {
  readonly bytes: Uint8Array;
  /** The tensor whose rows these are; null for what is read for the file's hash alone. */
  readonly tensor: PlannedTensor | null;
  /** Its row that comes first, and whether its last row is here. */
  readonly row: number;
  readonly last: boolean;
};

type Range = Omit<Piece, 'bytes'> & { readonly begin: number; readonly length: number };

/** A source file from its first byte to its last, in pieces of whole rows; one is read while its predecessor is worked on. */
export async function* piecesOf(file: SourceFile, signal?: AbortSignal): AsyncGenerator<Piece> {
  const read = ({ begin, length }: Range) => {
    const bytes = file.source.read(begin, length, signal);
    bytes.catch(() => {}); // told by the await that asks for it, or by nobody when another piece has failed
    return bytes;
  };
  const ranges = rangesOf(file);
  let next = ranges.length > 0 ? read(ranges[0]) : null;
  for (const [i, range] of ranges.entries()) {
    const bytes = (await next) as Uint8Array;
    signal?.throwIfAborted();
    next = i + 1 < ranges.length ? read(ranges[i + 1]) : null;
    yield { ...range, bytes };
  }
}

function rangesOf({ source, tensors }: SourceFile): readonly Range[] {
  const dataBegin = tensors[0]?.entry.begin ?? source.size;
  const ranges: Range[] = [{ begin: 0, length: dataBegin, tensor: null, row: 0, last: true }];
  for (const { entry, planned } of tensors) {
    const rowBytes = rowWidth(entry) * bytesPerElement(entry.dtype);
    const rowsAtOnce = Math.max(1, Math.floor(CHUNK / rowBytes));
    const end = entry.begin + entry.byteLength;
    for (let begin = entry.begin, row = 0; begin < end; row += rowsAtOnce) {
      const length = Math.min(rowsAtOnce * rowBytes, end - begin);
      ranges.push({ begin, length, tensor: planned, row, last: begin + length === end });
      begin += length;
    }
  }
  return ranges;
}

/** Rows in another precision: what is written for each of the tensor's headings. @throws CheckpointError for NaN and infinities */
export function convertRows(tensor: PlannedTensor, bytes: Uint8Array, row: number): readonly Uint8Array[] {
  const { entry, to } = tensor;
  const width = rowWidth(entry);
  if (to === null && areFinite(entry.dtype, bytes)) return [bytes];
  const values = new Float32Array(bytes.byteLength / bytesPerElement(entry.dtype));
  widenInto(bytes, entry.dtype, values);
  checkValues(tensor, values, row * width);
  if (to === null) return [bytes];
  if (to === 'bfloat16') return [bytesOf(narrowToBf16(values))];
  if (to === 'float16') return [bytesOf(narrowToF16(values))];
  const { codes, scales } = encodeRows(to, values, width);
  return [codes, scales];
}

const bytesOf = (words: Uint16Array): Uint8Array => new Uint8Array(words.buffer);

/** Whether 16-bit words are surely finite, from their exponents alone: the token table is the largest tensor there is. */
function areFinite(dtype: Dtype, bytes: Uint8Array): boolean {
  const exponent = dtype === 'BF16' ? 0x7f80 : dtype === 'F16' ? 0x7c00 : 0;
  if (exponent === 0 || bytes.byteOffset % 2 !== 0) return false;
  const words = new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 2);
  for (let i = 0; i < words.length; i++) if ((words[i] & exponent) === exponent) return false;
  return true;
}

/** The largest magnitude that a form holds; a float16 rounds to infinity from 65520 on, a bfloat16 near 3.4e38. */
const LARGEST = { float16: 65519, int4: INT4_LARGEST, int8: Number.MAX_VALUE, bfloat16: 3.38e38 } as const;

function checkValues({ entry, to }: PlannedTensor, values: Float32Array, first: number): void {
  const most = to === null ? Number.MAX_VALUE : LARGEST[to];
  for (let i = 0; i < values.length; i++) {
    if (Math.abs(values[i]) <= most) continue;
    const why = Number.isFinite(values[i])
      ? `is beyond ${most}, the largest that ${to} holds; use int8`
      : 'is not a finite number; download the file again';
    throw new CheckpointError(
      `${entry.source.name}: tensor ${JSON.stringify(entry.name)}: value ${first + i} is ${values[i]}, which ${why}`,
    );
  }
}
