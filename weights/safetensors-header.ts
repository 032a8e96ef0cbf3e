import { CheckpointError } from '../src/errors.ts';
import type { ByteSource } from './byte-source.ts';
import { byteLengthOf, type Dtype, dtypeNames, isDtype } from './dtypes.ts';
import type { QuantFormat } from './quantization.ts';
import { decodeUtf8, parseJson } from './read-text.ts';

// A safetensors file: u64 header length · JSON header · tensor data without gaps.   (huggingface/safetensors README, "Format")

/** Where a tensor lies. Nothing is read yet. */
export type TensorEntry = {
  /** Its name in the file. */
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly source: ByteSource;
  /** First byte, from the start of the file. */
  readonly begin: number;
  readonly byteLength: number;
  /** CRC-32 of its bytes, where the file says it. */
  readonly checksum?: number;
  /** Set where the bytes are the codes of a quantised matrix: `shape` is then the matrix's, `dtype` that of the codes. */
  readonly quantized?: { readonly format: QuantFormat; readonly scales: TensorEntry };
};

/** What must be read to have a tensor: itself, and the scales of a quantised one. */
export const partsOf = (entry: TensorEntry): readonly TensorEntry[] =>
  entry.quantized ? [entry, entry.quantized.scales] : [entry];

/** Bytes of a tensor in its file, scales included. */
export const storedBytes = (entry: TensorEntry): number =>
  partsOf(entry).reduce((sum, part) => sum + part.byteLength, 0);

export type SafetensorsHeader = {
  readonly metadata: Readonly<Record<string, string>>;
  /** In the header's order. */
  readonly tensors: ReadonlyMap<string, TensorEntry>;
};

/** The cap of the reference implementation, in bytes: a longer "header" is some other kind of file. */
const headerLimit = 100_000_000;

const lengthBytes = 8;
const damaged = 'the file is damaged: download it again';

/**
 * The header of a safetensors file, checked against the file's size: two small reads, no tensor data.
 * Everything wrong is a `CheckpointError` that names file, tensor, expected and found numbers.
 */
export async function readHeader(source: ByteSource, signal?: AbortSignal): Promise<SafetensorsHeader> {
  const headerLength = await readHeaderLength(source, signal);
  const text = decodeUtf8(await source.read(lengthBytes, headerLength, signal), `${source.name}: header`);
  const header = asObject(parseJson(text, `${source.name}: header`), `${source.name}: header`);

  const dataBegin = lengthBytes + headerLength;
  const tensors = new Map<string, TensorEntry>();
  let metadata: Readonly<Record<string, string>> = {};
  for (const [name, value] of Object.entries(header)) {
    if (name === '__metadata__') metadata = parseMetadata(value, source);
    else tensors.set(name, parseEntry(name, value, source, dataBegin));
  }
  checkDataSection([...tensors.values()], source, dataBegin);
  return { metadata, tensors };
}

async function readHeaderLength(source: ByteSource, signal?: AbortSignal): Promise<number> {
  if (source.size < lengthBytes) {
    throw new CheckpointError(
      `${source.name}: ${source.size} bytes are too few for a safetensors file (at least ${lengthBytes}); ${damaged}`,
    );
  }
  const bytes = await source.read(0, lengthBytes, signal);
  const length = new DataView(bytes.buffer, bytes.byteOffset, lengthBytes).getBigUint64(0, true);
  if (length > BigInt(headerLimit)) {
    throw new CheckpointError(
      `${source.name}: the header claims ${length} bytes, more than the ${headerLimit} that safetensors allows; ` +
        'this is not a safetensors file (a page, a pickle or a Git LFS pointer?)',
    );
  }
  const missing = lengthBytes + Number(length) - source.size;
  if (missing > 0) {
    throw new CheckpointError(
      `${source.name}: the header claims ${length} bytes, but the file has only ${source.size - lengthBytes} after its ` +
        `length field: ${missing} bytes are missing; ${damaged}`,
    );
  }
  return Number(length);
}

function parseMetadata(value: unknown, source: ByteSource): Readonly<Record<string, string>> {
  const metadata = asObject(value, `${source.name}: __metadata__`);
  const wrong = Object.entries(metadata).find(([, v]) => typeof v !== 'string');
  if (wrong === undefined) return metadata as Record<string, string>;
  throw new CheckpointError(
    `${source.name}: __metadata__ ${JSON.stringify(wrong[0])} must be a string, got ${JSON.stringify(wrong[1])}; ${damaged}`,
  );
}

function parseEntry(name: string, value: unknown, source: ByteSource, dataBegin: number): TensorEntry {
  const where = `${source.name}: tensor ${JSON.stringify(name)}`;
  const { dtype, shape, data_offsets: offsets } = asObject(value, where);
  if (!isDtype(dtype)) {
    throw new CheckpointError(
      `${where}: dtype ${JSON.stringify(dtype)} is not supported (supported: ${dtypeNames.join(', ')}); convert the checkpoint`,
    );
  }
  if (!isListOfSizes(shape)) {
    throw new CheckpointError(
      `${where}: shape must be a list of whole numbers, 0 or more, got ${JSON.stringify(shape)}; ${damaged}`,
    );
  }
  if (!isListOfSizes(offsets) || offsets.length !== 2 || offsets[0] > offsets[1]) {
    throw new CheckpointError(
      `${where}: data_offsets must be [begin, end] with 0 ≤ begin ≤ end, got ${JSON.stringify(offsets)}; ${damaged}`,
    );
  }
  const [begin, end] = offsets;
  const expected = byteLengthOf(dtype, shape);
  if (end - begin !== expected) {
    throw new CheckpointError(
      `${where}: ${dtype} [${shape.join(', ')}] takes ${expected} bytes, ` +
        `but data_offsets [${begin}, ${end}] hold ${end - begin}; ${damaged}`,
    );
  }
  return {
    name,
    dtype,
    shape: Object.freeze([...shape]),
    source,
    begin: dataBegin + begin,
    byteLength: expected,
  };
}

/** Tensors must fill the data section side by side: no overlap, no hole, no end beyond the file, nothing after the last. */
function checkDataSection(entries: readonly TensorEntry[], source: ByteSource, dataBegin: number): void {
  const ordered = [...entries].sort((x, y) => x.begin - y.begin || x.byteLength - y.byteLength);
  let end = dataBegin;
  let previous = 'the header';
  for (const entry of ordered) {
    const here = `tensor ${JSON.stringify(entry.name)}`;
    if (entry.begin !== end) {
      const what = entry.begin < end ? 'overlaps' : 'leaves a hole after';
      throw new CheckpointError(
        `${source.name}: ${here} ${what} ${previous}: it begins at byte ${entry.begin - dataBegin} of the data, ` +
          `expected ${end - dataBegin}; ${damaged}`,
      );
    }
    end = entry.begin + entry.byteLength;
    previous = here;
  }
  if (end > source.size) {
    const first = ordered.find((e) => e.begin + e.byteLength > source.size) as TensorEntry;
    throw new CheckpointError(
      `${source.name}: the file is cut off: ${end - source.size} bytes are missing (expected ${end}, found ${source.size}), ` +
        `from tensor ${JSON.stringify(first.name)} on; download it again`,
    );
  }
  if (end < source.size) {
    throw new CheckpointError(
      `${source.name}: ${source.size - end} bytes follow ${previous}, where the file should end ` +
        `(expected ${end} bytes, found ${source.size}); ${damaged}`,
    );
  }
}

function isListOfSizes(value: unknown): value is readonly number[] {
  return Array.isArray(value) && value.every((v) => Number.isSafeInteger(v) && v >= 0);
}

function asObject(value: unknown, where: string): Readonly<Record<string, unknown>> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value))
    return value as Record<string, unknown>;
  const text = JSON.stringify(value);
  throw new CheckpointError(`${where}: expected a JSON object, got ${text.slice(0, 60)}; ${damaged}`);
}
