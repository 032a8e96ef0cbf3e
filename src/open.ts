import { type AdapterFile, listAdapterFiles } from '../weights/adapter-files.ts';
import type { FileTree } from '../weights/byte-source.ts';
import { openCheckpoint } from '../weights/checkpoint.ts';
import { readJson } from '../weights/read-text.ts';
import { adapterSizes } from './adapter-sizes.ts';
import type { Adapter } from './adapters/with-adapters.ts';
import { Config } from './config.ts';
import { type DeviceChoice, DeviceManager, hasOwnMemory } from './device.ts';
import type { EngineReport } from './device-engine.ts';
import { gpuDevice } from './device-webgpu.ts';
import type { Door } from './door.ts';
import { EmbeddingModel } from './embedding-model.ts';
import { CheckpointError } from './errors.ts';
import { planGpu, storedOnGpu } from './gpu-plan.ts';
import { gpuHasRoom, residenceWithRoom } from './gpu-room.ts';
import { ImageProcessor } from './image/image-processor.ts';
import { parsePreprocessorConfig } from './image/preprocessor-config.ts';
import type { EmbedderParts } from './jina-embeddings.ts';
import { loadParams } from './load.ts';
import { loadAdapter } from './load-adapter.ts';
import { chooseResidence, type MemoryPlan, PLANNED_BATCHES, planInputs, planMemory } from './memory-plan.ts';
import { type ModelConfig, parseModelConfig } from './model-config.ts';
import type { LoadOptions } from './options.ts';
import { modelSpec } from './params.ts';
import { createTokenizer } from './text/tokenizer.ts';
import { adapterFor, checkSizes } from './wishes.ts';

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
  const tree = await openTree(door, source, signal);
  const adapterTree =
    typeof adapters === 'string' || adapters instanceof URL ? await door.openTree(adapters, signal) : tree;
  const closeTrees = async () => {
    if (adapterTree !== tree) await adapterTree.close();
    if (!isTree(source)) await tree.close();
  };
  try {
    const { modelConfig, tokenizer, images } = await readSmallFiles(door, tree, signal);
    checkSizes(modelConfig, config.settings.truncateDim);
    const spec = modelSpec(modelConfig);
    const checkpoint = await openCheckpoint(tree, signal);
    const files = adapters === null ? [] : await adapterFiles(adapterTree, modelConfig.taskNames, signal);
    adapterFor(
      config.settings.task,
      config.settings,
      files.map((f) => f.task),
      tree.name,
    );
    const { choice, start } = await startDevice(door, config);
    const inputs = planInputs(modelConfig, spec, checkpoint.entries, {
      backend: choice.backend,
      ownMemory: hasOwnMemory(choice),
      adapters: adapterSizes(files),
      tokenizerTokens: tokenizer.vocabSize,
      batches: PLANNED_BATCHES,
    });
    const plans = planMemory(inputs);
    const free = door.memory()?.free ?? null;
    const wanted = config.settings.residence;
    const chosen = chooseResidence(wanted, choice.backend, plans, free);
    const device = choice.backend === 'webgpu' ? gpuDevice() : null;
    const stored = storedOnGpu(spec, checkpoint);
    const residence = device
      ? await residenceWithRoom({
          wanted,
          residence: chosen.residence,
          stored: stored.precision,
          plans: planGpu({ ...inputs, stored }),
          hasRoom: (bytes) => gpuHasRoom(device, bytes),
        })
      : chosen.residence;
    const reason =
      residence === chosen.residence
        ? `${chosen.reason}${inputs.ownMemory ? ', beside what the GPU holds' : ''}`
        : `${residence} weights: the GPU has no room for ${chosen.residence} ones`;
    const { params, dispose } = await loadParams(spec, checkpoint, {
      residence,
      signal,
      onProgress,
      checkFinite,
    });
    // Streamed weights read from the checkpoint as long as the model lives; otherwise all has been read.
    const streamed = residence === 'streamed';
    const allRead = () => (streamed ? undefined : closeTrees());
    const readAdapter = async (file: AdapterFile): Promise<Adapter> => ({
      ...(await loadAdapter(file, spec, { residence, signal })),
      reload: async () => {
        const again = await adapterFiles(adapterTree, modelConfig.taskNames);
        const found = again.find(({ task }) => task === file.task);
        if (!found)
          throw new CheckpointError(`${adapterTree.name} no longer holds an adapter "${file.task}"`);
        return loadAdapter(found, spec, { residence }).finally(allRead);
      },
    });
    const model = new EmbeddingModel(modelConfig, params, dispose, {
      quantized: checkpoint.recipe?.precision ?? null,
      reload: async () => {
        await start();
        const files = streamed ? checkpoint : await openCheckpoint(tree);
        return loadParams(spec, files, { residence, checkFinite }).finally(allRead);
      },
      close: () => {
        if (streamed) void closeTrees();
      },
    });
    try {
      for (const file of files) {
        const adapter = await readAdapter(file);
        await model.placeAdapter(adapter, { signal }).catch((error) => {
          adapter.dispose();
          throw error;
        });
      }
    } catch (error) {
      model.dispose();
      throw error;
    }
    await allRead();
    const plan = plans.find((p) => p.residence === residence) as MemoryPlan;
    const runDevice = { ...choice, residence, plan, reason: `${choice.reason}; ${reason}` };
    return { model, tokenizer, images, config, device: runDevice, name: tree.name, openTree: door.openTree };
  } catch (error) {
    await closeTrees();
    throw error;
  }
}

/** The device that is chosen, started, and how to start the same choice again when it is lost. */
async function startDevice(
  door: Door,
  config: Config,
): Promise<{ readonly choice: DeviceChoice; readonly start: () => Promise<EngineReport> }> {
  const { device, compute, batchSize, threads } = config.settings;
  const manager = new DeviceManager(door.engines);
  const choice = await manager.select({
    device,
    precision: compute ?? undefined,
    batchSize: batchSize ?? undefined,
  });
  const looked = choice.considered.find((c) => c.name === choice.backend)?.report.detail ?? '';
  const start = () => manager.start(choice, { threads: threads ?? undefined });
  const { detail } = await start();
  const reason = choice.reason.replace(looked, detail); // what started may have fewer threads
  return { choice: { ...choice, reason }, start };
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

/** The adapters that will be loaded, in the checkpoint's own order of tasks: the first is the default. */
async function adapterFiles(
  tree: FileTree,
  taskNames: readonly string[],
  signal?: AbortSignal,
): Promise<readonly AdapterFile[]> {
  const place = (task: string) => (taskNames.includes(task) ? taskNames.indexOf(task) : taskNames.length);
  const files = await listAdapterFiles(tree, { taskNames, signal });
  return [...files].sort((a, b) => place(a.task) - place(b.task));
}
