import type { ByteSource, FileTree } from '../../weights/byte-source.ts';
import type { FileWriter, FolderWriter } from './folder-writer.ts';

const COPY_BYTES = 4 * 2 ** 20;
const SMALL_FILES = ['config.json', 'tokenizer.json', 'tokenizer_config.json', 'preprocessor_config.json'];
const ADAPTER_FILES = ['adapter_config.json', 'adapter_model.safetensors'];

/**
 * Copies adapters, tokenizer, configs and licence, byte for byte. Nothing else of the folder: it may hold other forms of the
 * weights. → the paths that were written
 */
export async function copyOthers(
  tree: FileTree,
  folder: FolderWriter,
  taskNames: readonly string[],
  signal?: AbortSignal,
): Promise<readonly string[]> {
  const adapterFolders = ['', 'adapters/', ...taskNames.map((task) => `adapters/${task}/`)];
  const known = [...SMALL_FILES, ...adapterFolders.flatMap((at) => ADAPTER_FILES.map((name) => at + name))];
  const listed = (await tree.list()) ?? known; // HTTP lists nothing
  const wanted = listed.filter(
    (path) =>
      path.startsWith('adapters/') ||
      (known.includes(path) && !path.includes('/')) ||
      /^(?:[^/]+\.(?:json|txt|md)|LICEN[CS]E[^/]*|NOTICE[^/]*)$/.test(path),
  );
  const copied: string[] = [];
  for (const path of wanted) {
    if (path === 'model.safetensors.index.json') continue;
    const source = await tree.open(path, signal);
    if (source === null) continue;
    try {
      await copyFile(source, await folder.create(path), signal);
    } finally {
      await source.close();
    }
    copied.push(path);
  }
  return copied;
}

async function copyFile(source: ByteSource, file: FileWriter, signal?: AbortSignal): Promise<void> {
  try {
    for (let at = 0; at < source.size; at += COPY_BYTES) {
      await file.append(await source.read(at, Math.min(COPY_BYTES, source.size - at), signal));
    }
  } finally {
    await file.close();
  }
}
