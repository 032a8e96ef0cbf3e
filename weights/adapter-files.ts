import { CheckpointError } from '../src/errors.ts';
import { type AdapterConfig, parseAdapterConfig } from './adapter-config.ts';
import { type AdapterContents, adapterModules } from './adapter-modules.ts';
import type { FileTree } from './byte-source.ts';
import { readJsonIfThere } from './read-text.ts';
import { readHeader } from './safetensors.ts';

export type { AdapterConfig } from './adapter-config.ts';
export type { AdapterModule, AdapterModules, SavedModule } from './adapter-modules.ts';

/** One adapter of a file: where its tensors lie, and how they are meant. Nothing but headers has been read. */
export type AdapterFile = AdapterContents & {
  /** Its name: a task of the model, or what the caller called it. */
  readonly task: string;
  readonly config: AdapterConfig;
};

export type ListAdapterOptions = {
  /** Folder names to try below `adapters/` besides those that the tree lists (HTTP lists none): the model's `task_names`. */
  readonly taskNames?: readonly string[];
  /** What a plain PEFT folder's adapter is called. Default: the last part of the tree's name. */
  readonly name?: string;
  readonly signal?: AbortSignal;
};

const configFile = 'adapter_config.json';
const weightsFile = 'adapter_model.safetensors';

/**
 * The adapters in a tree, from the first of these that is there; none is an empty list:
 * 1. `adapters/adapter_{config.json,model.safetensors}`            all tasks in one file, as published
 * 2. `adapters/<task>/adapter_{config.json,model.safetensors}`     a folder a task, as in earlier revisions
 * 3. `adapter_{config.json,model.safetensors}`                     what PEFT's `save_pretrained` leaves
 * The sources that are opened stay open for reading the tensors, and belong to the tree: `tree.close()` closes them.
 * A folder that is incomplete, or a file that cannot be used, is a `CheckpointError`.
 */
export async function listAdapterFiles(
  tree: FileTree,
  options: ListAdapterOptions = {},
): Promise<readonly AdapterFile[]> {
  const { signal } = options;
  const together = await readFolder(tree, 'adapters/', null, signal);
  if (together !== null) return together;
  const apart: AdapterFile[] = [];
  for (const task of await taskFolders(tree, options)) {
    apart.push(...((await readFolder(tree, `adapters/${task}/`, task, signal)) ?? []));
  }
  checkNamedOnce(tree, apart);
  if (apart.length > 0) return apart;
  const name = options.name ?? tree.name.split(/[/\\]/).findLast((part) => part !== '') ?? 'default';
  return (await readFolder(tree, '', name, signal)) ?? [];
}

async function taskFolders(tree: FileTree, options: ListAdapterOptions): Promise<readonly string[]> {
  const pattern = new RegExp(`^adapters/([^/]+)/${configFile.replace('.', '\\.')}$`);
  const listed = (await tree.list('adapters')) ?? [];
  // Known names are tried besides: HTTP lists nothing, and a listing does not look into linked folders.
  return [
    ...new Set([...listed.flatMap((path) => pattern.exec(path)?.[1] ?? []), ...(options.taskNames ?? [])]),
  ];
}

/** The adapters of one folder (`''` or ending in `/`), `null` when there is no config in it. */
async function readFolder(
  tree: FileTree,
  folder: string,
  name: string | null,
  signal?: AbortSignal,
): Promise<AdapterFile[] | null> {
  const json = await readJsonIfThere(tree, folder + configFile, { signal });
  if (json === undefined) return null;
  const config = parseAdapterConfig(json, `${tree.name}/${folder}${configFile}`);
  const source = await tree.open(folder + weightsFile, signal);
  if (source === null) throw await noWeights(tree, folder, signal);
  try {
    const { tensors } = await readHeader(source, signal);
    const tasks = adapterModules(source.name, tensors, config, name);
    return [...tasks].map(([task, contents]) => ({ task, config, ...contents }));
  } catch (error) {
    await source.close();
    throw error;
  }
}

async function noWeights(tree: FileTree, folder: string, signal?: AbortSignal): Promise<CheckpointError> {
  const pickle = await tree.open(`${folder}adapter_model.bin`, signal);
  await pickle?.close();
  const way = pickle
    ? 'adapter_model.bin is there, but pickles are not read: save the adapter again with safe_serialization=True'
    : 'download the adapter again, with all its files';
  return new CheckpointError(
    `${tree.name}: ${folder}${configFile} is there, but not ${folder}${weightsFile}; ${way}`,
  );
}

function checkNamedOnce(tree: FileTree, files: readonly AdapterFile[]): void {
  const names = files.map((file) => file.task);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice === undefined) return;
  throw new CheckpointError(
    `${tree.name}: two folders below adapters/ hold an adapter for "${twice}"; remove one of them`,
  );
}
