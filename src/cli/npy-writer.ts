import type { OutputPrecision } from '../config.ts';
import type { Vector } from '../output/quantize.ts';
import { bytesOf, ELEMENT, type EmbeddingWriter } from './embedding-writer.ts';
import { openTemporaryFile } from './temporary-file.ts';

const HEADER_BYTES = 128;

/** One array [n, d], one row an input in order. `numpy.load` reads it, and can map it into memory. */
export async function npyToFile(path: string, precision: OutputPrecision): Promise<EmbeddingWriter> {
  const file = await openTemporaryFile(path);
  const header = (rows: number, width: number) => npyHeader(ELEMENT[precision].npy, [rows, width]);
  await file.append(header(0, 0)); // its place; how many rows there are is known at the end
  let count = 0;
  let width = 0;
  return {
    async write(rows) {
      for (const { embedding } of rows) {
        const vector = embedding as Vector;
        await file.append(bytesOf(vector));
        width = vector.length;
        count++;
      }
    },
    async finish() {
      await file.rewrite(header(count, width), 0);
      await file.commit();
    },
    discard: file.discard,
  };
}

/** Format version 1.0, padded to 128 bytes whatever the shape.   (numpy/lib/format.py, "Format Version 1.0") */
export function npyHeader(descr: string, shape: readonly [number, number]): Uint8Array {
  const dict = `{'descr': '${descr}', 'fortran_order': False, 'shape': (${shape.join(', ')}), }`;
  const bytes = Buffer.alloc(HEADER_BYTES, ' ');
  bytes.write('\x93NUMPY\x01\x00', 'latin1');
  bytes.writeUInt16LE(HEADER_BYTES - 10, 8);
  bytes.write(dict, 10, 'latin1');
  bytes.write('\n', HEADER_BYTES - 1, 'latin1');
  return bytes;
}
