import { type FileHandle, open } from 'node:fs/promises';
import { byteLengthOf } from '../../weights/dtypes.ts';
import { encodeSafetensorsHeader } from '../../weights/safetensors-writer.ts';
import { valueStream } from './random-values.ts';
import type { PlannedFile } from './tensor-plan.ts';

/** Two buffers of this size are all that is held: one is filled while the other is on its way to the disk. */
const BUFFER_BYTES = 2 ** 21;

export type WriteOptions = {
  readonly seed: number;
  readonly signal?: AbortSignal;
  /** Called with the bytes of each piece once it is written. */
  readonly onBytes?: (bytes: number) => void;
};

/** One safetensors file, streamed: the values of a tensor are made as they are written. */
export async function writeTensors(
  path: string,
  { tensors }: PlannedFile,
  { seed, signal, onBytes }: WriteOptions,
): Promise<void> {
  const file = await open(path, 'wx');
  const buffers = [new Uint32Array(BUFFER_BYTES / 4), new Uint32Array(BUFFER_BYTES / 4)];
  let turn = 0;
  let pending: Promise<void> = writeAll(file, encodeSafetensorsHeader(tensors, { format: 'pt' }));
  try {
    for (const { name, dtype, shape, distribution } of tensors) {
      const fill = valueStream(seed, name, distribution, dtype);
      for (let left = byteLengthOf(dtype, shape); left > 0; left -= BUFFER_BYTES) {
        signal?.throwIfAborted();
        const buffer = buffers[turn++ % 2];
        const bytes = Math.min(left, BUFFER_BYTES);
        fill(buffer.subarray(0, Math.ceil(bytes / 4)));
        await pending;
        pending = writeAll(file, new Uint8Array(buffer.buffer, 0, bytes)).then(() => onBytes?.(bytes));
      }
    }
    await pending;
  } finally {
    await pending.catch(() => {}); // a write that is under way must end before its file is closed
    await file.close();
  }
}

async function writeAll(file: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length; ) at += (await file.write(bytes, at)).bytesWritten;
}
