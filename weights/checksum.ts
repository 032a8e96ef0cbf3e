import { CheckpointError } from '../src/errors.ts';
import { crc32, crcText } from './crc32.ts';
import type { TensorEntry } from './safetensors-header.ts';

const CHUNK = 16 * 2 ** 20;

/** Compares a tensor's bytes with its checksum, where it has one. @throws CheckpointError that names file and tensor */
export function checkBytes(entry: TensorEntry, bytes: Uint8Array): void {
  if (entry.checksum !== undefined) compare(entry, crc32(bytes), entry.checksum);
}

/** Reads a tensor through for its checksum alone: for one that will be read in parts, whose parts have none. */
export async function checkStored(entry: TensorEntry, signal?: AbortSignal): Promise<void> {
  if (entry.checksum === undefined) return;
  let crc = 0;
  for (let at = 0; at < entry.byteLength; at += CHUNK) {
    const length = Math.min(CHUNK, entry.byteLength - at);
    crc = crc32(await entry.source.read(entry.begin + at, length, signal), crc);
  }
  compare(entry, crc, entry.checksum);
}

function compare(entry: TensorEntry, found: number, expected: number): void {
  if (found === expected) return;
  throw new CheckpointError(
    `${entry.source.name}: tensor ${JSON.stringify(entry.name)}: its bytes have the checksum ${crcText(found)}, expected ` +
      `${crcText(expected)}; the file is damaged: download it again, or quantise it again`,
  );
}
