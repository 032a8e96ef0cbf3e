import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, open, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { PassThrough, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import * as zlib from 'node:zlib';

/**
 * The part of ZIP that a wheel needs: list the entries, stream one to a file. No unzip, no Python, and never more
 * than a chunk in memory, although one entry is 788 MB.
 *
 * @typedef {{ name: string, method: number, crc: number, packedSize: number, size: number, offset: number }} ZipEntry
 */

const END_RECORD = 0x06054b50;
const DIRECTORY_ENTRY = 0x02014b50;
const LOCAL_HEADER = 0x04034b50;
const LONGEST_END_RECORD = 22 + 0xffff;

/** Every entry of the archive, from the directory at its end.
 * @param {string} file
 * @returns {Promise<ZipEntry[]>} */
export async function listZip(file) {
  const handle = await open(file);
  try {
    const { size } = await handle.stat();
    const tail = await read(
      handle,
      Math.max(0, size - LONGEST_END_RECORD),
      Math.min(size, LONGEST_END_RECORD),
    );
    let end = tail.length - 22;
    while (end >= 0 && tail.readUInt32LE(end) !== END_RECORD) end--;
    if (end < 0) throw new Error(`${file} is not a whole zip file (${size} bytes, no directory at its end)`);
    const count = tail.readUInt16LE(end + 10);
    const bytes = tail.readUInt32LE(end + 12);
    const start = tail.readUInt32LE(end + 16);
    if (start + bytes > size) throw new Error(`${file} is damaged: its directory lies outside the file`);
    return parseDirectory(await read(handle, start, bytes), count, file);
  } finally {
    await handle.close();
  }
}

/** @param {Buffer} directory @param {number} count @param {string} file @returns {ZipEntry[]} */
function parseDirectory(directory, count, file) {
  const entries = [];
  for (let at = 0, i = 0; i < count; i++) {
    if (at + 46 > directory.length || directory.readUInt32LE(at) !== DIRECTORY_ENTRY)
      throw new Error(`${file} is damaged: entry ${i} of ${count} of its directory is not one`);
    const nameLength = directory.readUInt16LE(at + 28);
    const entry = {
      name: directory.toString('utf8', at + 46, at + 46 + nameLength),
      method: directory.readUInt16LE(at + 10),
      crc: directory.readUInt32LE(at + 16),
      packedSize: directory.readUInt32LE(at + 20),
      size: directory.readUInt32LE(at + 24),
      offset: directory.readUInt32LE(at + 42),
    };
    if (entry.size === 0xffffffff || entry.offset === 0xffffffff)
      throw new Error(`${file}: ${entry.name} is above 4 GB (zip64), which this reader does not know`);
    entries.push(entry);
    at += 46 + nameLength + directory.readUInt16LE(at + 30) + directory.readUInt16LE(at + 32);
  }
  return entries;
}

/** Streams one entry to `target`, checking length and, where this Node has crc32, checksum.
 * @param {string} file @param {ZipEntry} entry @param {string} target @param {(bytes: number) => void} [onBytes] */
export async function extractEntry(file, entry, target, onBytes) {
  const start = await dataStart(file, entry);
  await mkdir(dirname(target), { recursive: true });
  let bytes = 0;
  let crc = 0;
  const crc32 = /** @type {undefined | ((data: Buffer, value: number) => number)} */ (
    Reflect.get(zlib, 'crc32')
  );
  const watch = new Transform({
    transform(chunk, _encoding, done) {
      bytes += chunk.length;
      crc = crc32?.(chunk, crc) ?? entry.crc;
      onBytes?.(chunk.length);
      done(null, chunk);
    },
  });
  if (entry.packedSize === 0) await writeFile(target, '');
  else {
    const source = createReadStream(file, {
      start,
      end: start + entry.packedSize - 1,
      highWaterMark: 1 << 20,
    });
    const inflate = entry.method === 0 ? new PassThrough() : zlib.createInflateRaw({ chunkSize: 1 << 20 });
    await pipeline(source, inflate, watch, createWriteStream(target)).catch((error) => {
      if (!String(error.code).startsWith('Z_')) throw error; // a full disk is not the wheel's fault
      throw new Error(`${file} is damaged: ${entry.name} does not unpack (${error.message})`);
    });
  }
  if (bytes !== entry.size || (bytes > 0 && crc !== entry.crc))
    throw new Error(
      `${file} is damaged: ${entry.name} unpacks to ${bytes} bytes, not to the ${entry.size} expected`,
    );
}

/** The local header repeats the name and has an extra field of its own length.
 * @param {string} file @param {ZipEntry} entry */
async function dataStart(file, entry) {
  const handle = await open(file);
  try {
    const header = await read(handle, entry.offset, 30);
    if (header.length < 30 || header.readUInt32LE(0) !== LOCAL_HEADER)
      throw new Error(`${file} is damaged: ${entry.name} is not where the directory says`);
    return entry.offset + 30 + header.readUInt16LE(26) + header.readUInt16LE(28);
  } finally {
    await handle.close();
  }
}

/** @param {import('node:fs/promises').FileHandle} handle @param {number} position @param {number} length */
async function read(handle, position, length) {
  const { buffer, bytesRead } = await handle.read(Buffer.alloc(length), 0, length, position);
  return buffer.subarray(0, bytesRead);
}
