import { type FileHandle, mkdir, open, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type AdapterWriteOptions, adapterFiles } from '../adapters/save/adapter-files.ts';
import type { Adapter } from '../adapters/with-adapters.ts';
import { SourceError } from '../errors.ts';

/**
 * Writes an adapter as a PEFT folder, which is made if it is not there: `PeftModel.from_pretrained` and this package load it.
 * Both files are complete before either gets its name, and an adapter that stood there loses its config first: a crash
 * leaves no adapter, never the scale of one with the matrices of another.
 * @throws InputError for what no PEFT config describes, SourceError for a folder that cannot be written
 */
export async function saveAdapter(
  adapter: Adapter,
  folder: string,
  options: AdapterWriteOptions = {},
): Promise<void> {
  const { config, weights } = await adapterFiles(adapter, options);
  const files = [
    { name: join(folder, 'adapter_model.safetensors'), parts: weights },
    { name: join(folder, 'adapter_config.json'), parts: [new TextEncoder().encode(config)] },
  ].map((file) => ({ ...file, temporary: `${file.name}.${process.pid}.part` }));
  try {
    await mkdir(folder, { recursive: true });
    for (const { temporary, parts } of files) await writeParts(temporary, parts);
    await rm(files[1].name, { force: true });
    for (const { temporary, name } of files) await rename(temporary, name);
  } catch (cause) {
    for (const { temporary } of files) await rm(temporary, { force: true }).catch(() => {});
    const { code, message } = cause as NodeJS.ErrnoException;
    const reason = code === 'ENOSPC' ? 'the disk is full' : (code ?? message);
    throw new SourceError(
      `${folder}: the adapter could not be written (${reason}); make room, or choose another folder`,
      { cause },
    );
  }
}

async function writeParts(path: string, parts: readonly Uint8Array[]): Promise<void> {
  const handle: FileHandle = await open(path, 'w');
  try {
    for (const part of parts) await handle.writeFile(part); // goes on where the last one ended
    await handle.sync();
  } finally {
    await handle.close();
  }
}
