import { type AdapterFile, listAdapterFiles } from '../../weights/adapter-files.ts';
import type { FileTree } from '../../weights/byte-source.ts';
import { openCheckpoint } from '../../weights/checkpoint.ts';
import { elementCount } from '../../weights/dtypes.ts';
import { checkFit } from '../../weights/fit.ts';
import type { QuantizationRecipe } from '../../weights/quantization-recipe.ts';
import { readJson } from '../../weights/read-text.ts';
import { storedBytes } from '../../weights/safetensors.ts';
import { adapterSizes } from '../adapter-sizes.ts';
import { type GpuPlanInputs, storedOnGpu } from '../gpu-plan.ts';
import { type PlanInputs, storedSizes } from '../memory-plan.ts';
import { type ModelConfig, parseModelConfig } from '../model-config.ts';
import { checkpointTensors, modelSpec, parameterCount } from '../params.ts';
import { type MemoryEstimate, memoryOf } from './memory-estimate.ts';

export type AdapterSummary = {
  readonly name: string;
  /** The ranks that occur, smallest first; almost always one. */
  readonly ranks: readonly number[];
  readonly alpha: number;
  readonly modules: number;
  readonly parameters: number;
};

/** What can be told of a checkpoint without reading a weight. */
export type CheckpointSummary = {
  readonly model: string;
  /** The checkpoint's own word that it was never trained. */
  readonly randomWeights: boolean;
  readonly config: ModelConfig;
  readonly parameters: {
    readonly vision: number;
    readonly decoder: number;
    readonly projector: number;
    readonly total: number;
  };
  readonly tensors: number;
  /** Bytes of the weights in the files, by dtype; quantised ones by their format, scales included. */
  readonly stored: Readonly<Record<string, number>>;
  /** The same for each element of matrices and table; and what the adapters hold. */
  readonly sizes: Pick<PlanInputs, 'weightBytes' | 'tableBytes' | 'adapters'>;
  /** What the weights are on a GPU where nothing is widened. */
  readonly onGpu: Required<Pick<GpuPlanInputs, 'stored'>>;
  /** How it was quantised, if it was. */
  readonly quantization: QuantizationRecipe | null;
  readonly adapters: readonly AdapterSummary[];
  /** Bytes in memory, adapters included. */
  readonly memory: MemoryEstimate;
  readonly tokenizer: { readonly tokens: number; readonly bytes: number };
  readonly files: readonly { readonly name: string; readonly bytes: number }[];
};

/** Reads config, tokenizer and the headers of all weights. A checkpoint that does not fit its config is a `CheckpointError`. */
export async function summarize(tree: FileTree, signal: AbortSignal): Promise<CheckpointSummary> {
  const json = await readJson(tree, 'config.json', { signal });
  const config = parseModelConfig(json);
  const spec = modelSpec(config);
  const checkpoint = await openCheckpoint(tree, signal);
  const expected = checkpointTensors(spec);
  checkFit(expected, checkpoint.entries);
  const stored: Record<string, number> = {};
  for (const entry of checkpoint.entries.values()) {
    const type = entry.quantized?.format ?? entry.dtype;
    stored[type] = (stored[type] ?? 0) + storedBytes(entry);
  }
  const files = await listAdapterFiles(tree, { taskNames: config.taskNames, signal });
  const adapters = summarizeAdapters(files);
  const total = parameterCount(spec);
  return {
    model: tree.name,
    randomWeights: (json as { random_weights?: unknown }).random_weights === true,
    config,
    parameters: {
      vision: parameterCount(spec.visual),
      decoder: parameterCount(spec.model),
      projector: parameterCount(spec.multiVectorProjector),
      total,
    },
    tensors: expected.length,
    stored,
    sizes: { ...storedSizes(spec, checkpoint.entries), adapters: adapterSizes(files) },
    onGpu: { stored: storedOnGpu(spec, checkpoint) },
    quantization: checkpoint.recipe,
    adapters,
    memory: memoryOf(adapters.reduce((sum, a) => sum + a.parameters, total)),
    tokenizer: {
      tokens: tokenCount(await readJson(tree, 'tokenizer.json', { signal })),
      bytes: (await sizeOf(tree, 'tokenizer.json')) ?? 0,
    },
    files: await listFiles(
      tree,
      checkpoint.files.map((f) => f.name),
    ),
  };
}

export function summarizeAdapters(files: readonly AdapterFile[]): readonly AdapterSummary[] {
  return files.map(({ task, config, modules, saved }) => {
    const pairs = [...modules.values()];
    const tensors = [...pairs, ...saved.values()].flatMap((m) =>
      Object.values(m).filter((part) => typeof part === 'object'),
    );
    return {
      name: task,
      ranks: [...new Set(pairs.map(({ a }) => a.shape[0]))].sort((x, y) => x - y),
      alpha: config.loraAlpha,
      modules: pairs.length + saved.size,
      parameters: tensors.reduce((sum, { shape }) => sum + elementCount(shape), 0),
    };
  });
}

/** Entries of the vocabulary and added tokens: what tokenizer.json says, without building a tokenizer. */
function tokenCount(json: unknown): number {
  const { model, added_tokens } = json as { model?: { vocab?: object }; added_tokens?: { id: number }[] };
  const ids = new Set(Object.values(model?.vocab ?? {}));
  for (const { id } of added_tokens ?? []) ids.add(id);
  return ids.size;
}

/** Every file with its size. Where a tree cannot be listed (HTTP), those that were read. */
async function listFiles(tree: FileTree, weights: readonly string[]): Promise<CheckpointSummary['files']> {
  const known = ['config.json', 'tokenizer.json', 'tokenizer_config.json', 'preprocessor_config.json'];
  const own = weights.map((name) => (name.startsWith(tree.name) ? name.slice(tree.name.length + 1) : name));
  const names = (await tree.list()) ?? [...known, ...own, 'adapters/adapter_model.safetensors'];
  const files: { name: string; bytes: number }[] = [];
  for (const name of names) {
    const bytes = await sizeOf(tree, name);
    if (bytes !== null) files.push({ name, bytes });
  }
  return files;
}

async function sizeOf(tree: FileTree, name: string): Promise<number | null> {
  const source = await tree.open(name);
  await source?.close();
  return source?.size ?? null;
}
