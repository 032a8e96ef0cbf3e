import { CheckpointError } from '../src/errors.ts';
import { type AdapterConfig, patternValue } from './adapter-config.ts';
import { type AdapterPart, type AdapterTensorName, parseAdapterTensorName } from './adapter-names.ts';
import { elementCount, isFloatDtype } from './dtypes.ts';
import { counted, listProblems } from './problem-list.ts';
import type { TensorEntry } from './safetensors.ts';

/** A LoRA on one linear map, y += scale · (B · act(A x) + bBias), or on a table, whose A is looked up. */
export type AdapterModule = {
  /** [R, in]; of a convolution [R, in channels, ...kernel] */
  readonly a: TensorEntry;
  /** [out, R]; of a convolution with ones after it */
  readonly b: TensorEntry;
  /** [out]; with PEFT's `lora_bias`. */
  readonly bBias?: TensorEntry;
  /** [out]; DoRA's norms. Of a convolution [1, out, 1, …]. */
  readonly magnitude?: TensorEntry;
  /** On a table: A is [R, V]. */
  readonly table: boolean;
  /** alpha/r or, with rsLoRA, alpha/√r; alpha and r of this module. */
  readonly scale: number;
};

/** By canonical module path: `model.layers.0.self_attn.q_proj`, `multi_vector_projector`. */
export type AdapterModules = ReadonlyMap<string, AdapterModule>;

/**
 * What the adapter brings along whole: a map, norm or table (`modules_to_save`); a bias alone (`bias: all`, `lora_only`); or
 * the table below its LoRA.
 */
export type SavedModule = { readonly weight?: TensorEntry; readonly bias?: TensorEntry };

/** What one adapter of a file holds. */
export type AdapterContents = {
  readonly modules: AdapterModules;
  /** By canonical module path. */
  readonly saved: ReadonlyMap<string, SavedModule>;
};

type Parts = { readonly path: string; readonly table: boolean } & Partial<Record<AdapterPart, TensorEntry>>;

/**
 * An adapter file's tensors as modules by task, headers only. `name` is what a file of one adapter without task names holds;
 * a file of several says its tasks itself. Everything that is wrong with the file is told in one `CheckpointError`.
 */
export function adapterModules(
  file: string,
  tensors: ReadonlyMap<string, TensorEntry>,
  config: AdapterConfig,
  name: string | null,
): ReadonlyMap<string, AdapterContents> {
  const problems: string[] = [];
  const named: { entry: TensorEntry; what: AdapterTensorName }[] = [];
  for (const entry of tensors.values()) {
    if (isNeverUsed(entry.name) || isCopy(entry.name, tensors)) continue;
    const what = parseAdapterTensorName(entry.name, config);
    if (typeof what === 'string') problems.push(`unexpected  ${entry.name}: ${what}`);
    else if (!isFloatDtype(entry.dtype))
      problems.push(`wrong dtype ${entry.name}: ${entry.dtype} is not a float`);
    else named.push({ entry, what });
  }
  const taskOf = taskNaming(
    named.map(({ what }) => what),
    name,
    problems,
  );

  const tasks = new Map<string, Map<string, Parts>>();
  for (const { entry, what } of named) {
    const task = taskOf(what);
    const modules = tasks.get(task) ?? new Map<string, Parts>();
    tasks.set(task, modules);
    const parts = modules.get(what.module) ?? { path: what.path, table: false };
    const other = parts[what.part];
    if (other) problems.push(`twice       ${entry.name}: the same part of the same module as ${other.name}`);
    modules.set(what.module, { ...parts, table: parts.table || what.table, [what.part]: entry });
  }

  const result = new Map<string, AdapterContents>();
  for (const [task, named] of tasks) {
    const modules = new Map<string, AdapterModule>();
    const saved = new Map<string, SavedModule>();
    for (const [module, parts] of named) {
      const { weight, baseWeight, bias, ...lora } = parts;
      if (weight || baseWeight || bias) {
        const whole = replacement(module, task, parts, config, problems);
        if (whole) saved.set(module, whole);
      }
      if (!weight && (lora.a || lora.b || lora.magnitude || lora.bBias || baseWeight)) {
        const term = assemble(module, task, parts, config, problems);
        if (term) modules.set(module, term);
      }
    }
    result.set(task, { modules, saved });
  }
  if (tensors.size === 0) problems.push('the file holds no tensors');
  if (problems.length === 0) return result;
  throw new CheckpointError(
    listProblems(`${file}: this adapter cannot be used (${counted(problems.length, 'problem')}):`, problems),
  );
}

/**
 * Which task a tensor belongs to. With two labels it is the second. One label is a task if there are several of them, or
 * if the file has no name of its own; PEFT's `default`, or the only label of a folder's file, is just an adapter's name.
 */
function taskNaming(
  all: readonly AdapterTensorName[],
  name: string | null,
  problems: string[],
): (what: AdapterTensorName) => string {
  // A module that is saved whole carries no label; where a file holds several tasks, nothing says whose it is.
  const whole = (part: AdapterPart) => part === 'weight' || part === 'bias' || part === 'baseWeight';
  const names = all.filter(({ part, labels }) => labels.length > 0 || !whole(part));
  const depths = new Set(names.map(({ labels }) => labels.length));
  if (depths.size > 1) {
    const samples = [...depths].map((d) => names.find(({ labels }) => labels.length === d));
    const shown = samples.map((s) => `${s?.path} has ${s?.labels.length ? s.labels.join('.') : 'no label'}`);
    problems.push(`some tensors carry a task or adapter name and some do not: ${shown.join(', ')}`);
  }
  const labels = new Set(names.flatMap((what) => what.labels.at(-1) ?? []));
  const onlyOne = labels.size === 1 && !depths.has(2);
  const meaningless = onlyOne && (name !== null || labels.has('default'));
  if (labels.size > 1 && names.length < all.length) {
    problems.push(
      `modules_to_save or bias holds for one adapter, but this file has ${[...labels].join(', ')}`,
    );
  }
  const alone = onlyOne && !meaningless ? [...labels][0] : undefined;
  return (what) => (meaningless ? undefined : what.labels.at(-1)) ?? alone ?? name ?? 'default';
}

/** A part that is replaced: with a weight of its own and no LoRA beside it, or below one, or in its bias alone. */
function replacement(
  module: string,
  task: string,
  parts: Parts,
  config: AdapterConfig,
  problems: string[],
): SavedModule | null {
  const { weight = parts.baseWeight, bias, a, b } = parts;
  const where = `${module} (${task})`;
  if (!weight && config.bias === 'none') {
    problems.push(`missing     the weight of ${where}: modules_to_save brings its bias`);
    return null;
  }
  if (parts.weight && (a || b))
    problems.push(`twice       ${where}: a LoRA, and saved as a whole by modules_to_save`);
  return { weight, bias };
}

// An embedding stops before the language model's head, which trainers like to save.
const isNeverUsed = (name: string): boolean => /(?:^|\.)lm_head\./.test(name);

/** `bias: all` finds the biases of a saved module again, in PEFT's wrapper around it. */
const isCopy = (name: string, tensors: ReadonlyMap<string, TensorEntry>): boolean =>
  name.endsWith('.original_module.bias') ||
  (name.endsWith('.modules_to_save.bias') && tensors.has(name.replace('.modules_to_save.bias', '.bias')));

/** Checks that the parts fit together. `null`, and a problem, where they do not. */
function assemble(
  module: string,
  task: string,
  parts: Parts,
  config: AdapterConfig,
  problems: string[],
): AdapterModule | null {
  const { path, a, b, bBias, magnitude } = parts;
  const before = problems.length;
  const where = `${module} (${task})`;
  if (!a) problems.push(`missing     lora_A of ${where}`);
  if (!b) problems.push(`missing     lora_B of ${where}`);
  if (config.useDora && !magnitude)
    problems.push(`missing     lora_magnitude_vector of ${where}: use_dora is true`);
  if (!config.useDora && magnitude) problems.push(`unexpected  ${magnitude.name}: use_dora is false`);
  if (config.loraBias && !bBias && !parts.table)
    problems.push(`missing     the bias of lora_B of ${where}: lora_bias is true`);
  if (!config.loraBias && bBias) problems.push(`unexpected  ${bBias.name}: lora_bias is false`);
  if (!a || !b) return null;

  const r = a.shape[0];
  const flat = a.shape.length === 2 && b.shape.length === 2;
  const convolution =
    a.shape.length > 2 && b.shape.length === a.shape.length && b.shape.slice(2).every((n) => n === 1);
  if (!(flat || convolution) || b.shape[1] !== r || r === 0) {
    problems.push(
      `wrong shape ${where}: expected A [r, in] and B [out, r], found A ${shown(a)} and B ${shown(b)}`,
    );
  }
  for (const vector of [bBias, magnitude]) {
    // PEFT keeps the magnitudes of a convolution as [1, out, 1, …].
    const size = vector?.shape.length === 1 || convolution ? elementCount(vector?.shape ?? []) : 0;
    if (vector && size !== b.shape[0]) {
      problems.push(`wrong shape ${vector.name}: expected [${b.shape[0]}], found ${shown(vector)}`);
    }
  }
  // The tensors are the truth about r: config.r is only a default. A pattern names this module, so it must agree.
  const promised = patternValue(config.rankPattern, path);
  if (promised !== undefined && promised !== r) {
    problems.push(`wrong rank  ${where}: rank_pattern says ${promised}, lora_A is ${shown(a)}`);
  }
  const alpha = patternValue(config.alphaPattern, path) ?? config.loraAlpha;
  const scale = alpha / (config.useRslora ? Math.sqrt(r) : r);
  return problems.length === before ? { a, b, bBias, magnitude, table: parts.table, scale } : null;
}

const shown = (entry: TensorEntry): string => `[${entry.shape.join(', ')}]`;
