import { checkRange } from './byte-range.ts';
import type { ByteSource, FileTree } from './byte-source.ts';
import { isBelow, treeSegments } from './tree-path.ts';

/** Bytes that are already here. The source keeps a view of `bytes`; reads are copies. */
export function memorySource(name: string, bytes: Uint8Array): ByteSource {
  return {
    name,
    size: bytes.byteLength,
    async read(offset, length, signal) {
      signal?.throwIfAborted();
      checkRange({ name, size: bytes.byteLength }, offset, length);
      return new Uint8Array(bytes.subarray(offset, offset + length)); // `slice` of a Node Buffer would be no copy
    },
    async close() {},
  };
}

/** A folder in memory: contents by relative path, text as UTF-8. */
export function memoryTree(name: string, files: Readonly<Record<string, Uint8Array | string>>): FileTree {
  const encoder = new TextEncoder();
  return {
    name,
    async open(path, signal) {
      signal?.throwIfAborted();
      treeSegments(name, path);
      if (!Object.hasOwn(files, path)) return null;
      const file = files[path];
      return memorySource(`${name}/${path}`, typeof file === 'string' ? encoder.encode(file) : file);
    },
    async list(folder = '') {
      return Object.keys(files)
        .filter((path) => isBelow(path, folder))
        .sort();
    },
    async close() {},
  };
}
