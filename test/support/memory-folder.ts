import type { FolderWriter } from '../../src/quantize/folder-writer.ts';

/** A folder to write to whose files are kept in memory, as `memoryTree` takes them. */
export function memoryFolder(): FolderWriter & { readonly files: Record<string, Uint8Array> } {
  const files: Record<string, Uint8Array> = {};
  return {
    files,
    async reserve() {},
    async create(path) {
      const parts: Uint8Array[] = [];
      files[path] = new Uint8Array();
      return {
        append: async (bytes) => void parts.push(bytes.slice()),
        async rewrite(bytes, position) {
          const whole = joined(parts);
          whole.set(bytes, position);
          parts.splice(0, parts.length, whole);
        },
        async close() {
          files[path] = joined(parts);
        },
      };
    },
  };
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, p) => sum + p.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
