import { existsSync } from 'node:fs';
import { type AdapterFile, listAdapterFiles } from '../../weights/adapter-files.ts';
import type { FileTree } from '../../weights/byte-source.ts';
import { readJson } from '../../weights/read-text.ts';
import type { Adapter } from '../adapters/with-adapters.ts';
import { InputError } from '../errors.ts';
import { parseModelConfig } from '../model-config.ts';
import { type ModelSpec, modelSpec } from '../params.ts';
import type { Session } from './session.ts';

/** How an adapter is named on the command line; for the help of every command that takes one. */
export const ADAPTER_WORDS =
  '\nAn adapter is the name of one in the checkpoint, or a PEFT folder or URL; folder#name where it holds several.';

/** Adapters on the plain JavaScript backend, which need no model: only its config, for the maps that they sit on. */
export type OpenAdapters = { readonly adapters: readonly Adapter[]; [Symbol.dispose](): void };

/** Opens adapters by their words; none are all of the checkpoint. @throws InputError, CheckpointError, SourceError */
export async function openAdapters(
  words: readonly string[],
  model: string | undefined,
  { signal, terminal }: Session,
): Promise<OpenAdapters> {
  const { nodeDoor } = await import('../platform/node.ts');
  await startPlainBackend();
  const tree = model === undefined ? await nodeDoor.openDefault() : await nodeDoor.openTree(model, signal);
  try {
    const config = parseModelConfig(await readJson(tree, 'config.json', { signal }));
    const own = await listAdapterFiles(tree, { taskNames: config.taskNames, signal });
    const names = words.length > 0 ? words : own.map((file) => file.task);
    if (names.length === 0) throw new InputError(`${tree.name} has no adapters; name a PEFT folder`);
    const adapters: Adapter[] = [];
    const close = () => {
      for (const adapter of adapters) adapter.dispose();
    };
    const progress = await terminal.progress('reading adapters', (done, total) => `${done} of ${total}`);
    try {
      for (const [done, name] of names.entries()) {
        progress.update(done, names.length);
        adapters.push(await loadOne(name, own, modelSpec(config), tree.name, signal));
      }
    } catch (error) {
      close();
      throw error;
    } finally {
      progress.stop();
    }
    return { adapters, [Symbol.dispose]: close };
  } finally {
    await tree.close();
  }
}

/** Reads the adapter of one word. `own`: those of the checkpoint. */
export async function loadOne(
  word: string,
  own: readonly AdapterFile[],
  spec: ModelSpec,
  model: string,
  signal: AbortSignal,
): Promise<Adapter> {
  const { loadAdapter } = await import('../load-adapter.ts');
  const found = own.find((file) => file.task === word);
  if (found) return loadAdapter(found, spec, { residence: 'float32', signal });
  const { tree, task } = await openFolderOf(word, own, model, signal);
  try {
    const files = await listAdapterFiles(tree, { signal });
    const file = task === null ? files[0] : files.find((f) => f.task === task);
    if (file && (task !== null || files.length === 1))
      return await loadAdapter(file, spec, { residence: 'float32', signal });
    const names = files.map((f) => f.task).join(', ');
    throw new InputError(
      files.length === 0
        ? `${tree.name} holds no adapter (adapter_config.json and adapter_model.safetensors)`
        : `${tree.name} holds ${names}; say which: ${tree.name}#${files[0].task}`,
    );
  } finally {
    await tree.close();
  }
}

async function openFolderOf(
  word: string,
  own: readonly AdapterFile[],
  model: string,
  signal: AbortSignal,
): Promise<{ tree: FileTree; task: string | null }> {
  const { nodeDoor } = await import('../platform/node.ts');
  const [, folder, task = null] = /^(.*?)(?:#([^#/\\]+))?$/.exec(word) as unknown as [
    string,
    string,
    string?,
  ];
  // A word without a slash that is no folder was meant as a name.
  if (!/[/\\]/.test(word) && !existsSync(folder)) {
    const names = own.map((file) => file.task).join(', ') || 'none';
    throw new InputError(`no adapter named "${word}" in ${model}, and no such folder; there are ${names}`);
  }
  return { tree: await nodeDoor.openTree(folder, signal), task };
}

async function startPlainBackend(): Promise<void> {
  const tf = await import('@tensorflow/tfjs-core');
  tf.enableProdMode(); // the backend advertises another one otherwise
  const { nodeDoor } = await import('../platform/node.ts');
  const { DeviceManager } = await import('../device.ts');
  const manager = new DeviceManager(nodeDoor.engines);
  await manager.start(await manager.select({ device: 'cpu' }));
}
