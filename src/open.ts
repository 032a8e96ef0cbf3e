import { listAdapterFiles } from '../weights/adapter-files.ts';
import type { FileTree } from '../weights/byte-source.ts';
import { openCheckpoint } from '../weights/checkpoint.ts';
import { readJson } from '../weights/read-text.ts';
import { Config } from './config.ts';
import { type DeviceChoice, DeviceManager } from './device.ts';
import type { Door } from './door.ts';
import { EmbeddingModel } from './embedding-model.ts';
import { CheckpointError } from './errors.ts';
import { ImageProcessor } from './image/image-processor.ts';
import { parsePreprocessorConfig } from './image/preprocessor-config.ts';
import type { EmbedderParts } from './jina-embeddings.ts';
import { loadParams } from './load.ts';
import { type LoadAdapterOptions, loadAdapter } from './load-adapter.ts';
import { type ModelConfig, parseModelConfig } from './model-config.ts';
import type { LoadOptions } from './options.ts';
import { modelSpec } from './params.ts';
import { createTokenizer } from './text/tokenizer.ts';

/**
 * Opens a checkpoint folder in the published layout and makes it ready on a device. All small files are read and judged
 * before the weights are.
 * @throws SourceError, CheckpointError, DeviceError, InputError by what can be done about it
 */
export async function openEmbedder(
  door: Door,
  source: string | URL | FileTree | null,
  options: LoadOptions = {},
): Promise<EmbedderParts> {
  const { signal, onProgress, checkFinite, adapters, ...given } = options;
  const config = new Config({ env: door.env, options: given });
  const ownsTree = !isTree(source);
  const tree = await openTree(door, source, signal);
  try {
    const { modelConfig, tokenizer, images } = await readSmallFiles(door, tree, signal);
    const checkpoint = await openCheckpoint(tree, signal);
    const choice = await startDevice(door, config);
    const residence = config.settings.residence === 'auto' ? 'float32' : config.settings.residence;
    const spec = modelSpec(modelConfig);
    const { params, dispose } = await loadParams(spec, checkpoint, {
      residence,
      signal,
      onProgress,
      checkFinite,
    });
    const close = () => (ownsTree ? tree.close() : checkpoint.close());
    // Streamed weights read from the checkpoint as long as the model lives; otherwise all has been read.
    const streamed = residence === 'streamed';
    const model = new EmbeddingModel(modelConfig, params, () => {
      dispose();
      if (streamed) void close();
    });
    try {
      await addAdapters(model, door, tree, adapters, { residence, signal });
    } catch (error) {
      model.dispose();
      throw error;
    }
    if (!streamed) await close();
    return { model, tokenizer, images, config, device: choice, name: tree.name };
  } catch (error) {
    if (ownsTree) await tree.close();
    throw error;
  }
}

async function startDevice(door: Door, config: Config): Promise<DeviceChoice> {
  const { device, compute, batchSize, threads } = config.settings;
  const manager = new DeviceManager(door.engines);
  const choice = await manager.select({
    device,
    precision: compute ?? undefined,
    batchSize: batchSize ?? undefined,
  });
  await manager.start(choice, { threads: threads ?? undefined });
  return choice;
}

const isTree = (source: unknown): source is FileTree =>
  typeof source === 'object' && source !== null && 'open' in source;

async function openTree(
  door: Door,
  source: string | URL | FileTree | null,
  signal?: AbortSignal,
): Promise<FileTree> {
  if (source === null) return door.openDefault();
  return isTree(source) ? source : door.openTree(source, signal);
}

async function readSmallFiles(door: Door, tree: FileTree, signal?: AbortSignal) {
  const modelConfig = parseModelConfig(await readJson(tree, 'config.json', { signal }));
  const preprocessor = parsePreprocessorConfig(await readJson(tree, 'preprocessor_config.json', { signal }));
  checkPatches(modelConfig, preprocessor);
  const tokenizer = createTokenizer(
    await readJson(tree, 'tokenizer.json', { signal }),
    await readJson(tree, 'tokenizer_config.json', { signal }),
  );
  if (tokenizer.vocabSize > modelConfig.decoder.vocabSize) {
    throw new CheckpointError(
      `tokenizer.json gives ids up to ${tokenizer.vocabSize - 1}, but config.json has vocab_size ` +
        `${modelConfig.decoder.vocabSize}; the two files do not belong together`,
    );
  }
  return { modelConfig, tokenizer, images: new ImageProcessor(preprocessor, door) };
}

/** The processor cuts the patches that the tower reads: their sizes are written in two files and must agree. */
function checkPatches({ vision }: ModelConfig, images: ReturnType<typeof parsePreprocessorConfig>): void {
  const pairs = [
    ['patch_size', images.patchSize, vision.patchSize],
    ['temporal_patch_size', images.temporalPatchSize, vision.temporalPatchSize],
    ['merge_size', images.mergeSize, vision.spatialMergeSize],
  ] as const;
  for (const [key, cut, read] of pairs) {
    if (cut !== read) {
      throw new CheckpointError(
        `${key} is ${cut} in preprocessor_config.json but ${read} in config.json; they must be equal`,
      );
    }
  }
}

async function addAdapters(
  model: EmbeddingModel,
  door: Door,
  own: FileTree,
  adapters: string | URL | null | undefined,
  options: LoadAdapterOptions,
): Promise<void> {
  const { signal } = options;
  if (adapters === null) return;
  const tree = adapters === undefined ? own : await door.openTree(adapters, signal);
  try {
    const { taskNames } = model.config;
    const files = await listAdapterFiles(tree, { taskNames, signal });
    const place = (task: string) => (taskNames.includes(task) ? taskNames.indexOf(task) : taskNames.length);
    // The checkpoint's own order of tasks: the first is the default.
    for (const file of [...files].sort((a, b) => place(a.task) - place(b.task))) {
      model.addAdapter(await loadAdapter(file, model.spec, options));
    }
  } finally {
    if (tree !== own) await tree.close();
  }
}
