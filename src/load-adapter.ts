import * as tf from '@tensorflow/tfjs-core';
import { type LoraTerm, type Matrix, matrixStore } from '../kernels/index.ts';
import { type AdapterFile, listAdapterFiles } from '../weights/adapter-files.ts';
import type { FileTree } from '../weights/byte-source.ts';
import { elementCount, widenInto } from '../weights/dtypes.ts';
import { counted, listProblems } from '../weights/problem-list.ts';
import { type LentBytes, readAhead } from '../weights/read-ahead.ts';
import type { TensorEntry } from '../weights/safetensors.ts';
import type { Adapter, SavedMap } from './adapters/with-adapters.ts';
import { watchGpu } from './device-call.ts';
import { CheckpointError, InputError } from './errors.ts';
import { Held } from './held.ts';
import type { LinearSpec } from './layers/spec.ts';
import type { WeightResidence } from './load.ts';
import { leavesOf, type ModelSpec } from './params.ts';

export type LoadAdapterOptions = { readonly residence?: WeightResidence; readonly signal?: AbortSignal };

/**
 * A LoRA file → an adapter in memory, resident whatever the base is. Every module must be a linear map of this model and
 * every matrix must fit it: a misfit is told before a tensor is read, never skipped (a LoRA that silently does not load
 * leaves the plain backbone, which looks like a working model). A DoRA's terms still lack the lengths of their maps:
 * `EmbeddingModel.placeAdapter` measures them.
 * @throws CheckpointError listing every misfit
 */
export async function loadAdapter(
  file: AdapterFile,
  spec: ModelSpec,
  options: LoadAdapterOptions = {},
): Promise<Adapter> {
  const wholes = new Map([...file.saved].filter(([name]) => !isNeverUsed(name)));
  const targets = checkModules(file, wholes, spec);
  const held = new Held();
  const gpu = watchGpu(`loading adapter "${file.task}"`);
  try {
    const parts = [...file.modules.values(), ...wholes.values()].flatMap((m) => Object.values(m));
    const entries = parts.filter((part): part is TensorEntry => typeof part === 'object');
    const bytes = await readAhead([entries], { once: true }).take(0, options.signal);
    const matrix = (entry: TensorEntry) =>
      gpu.step(entry.name, () => held.keep(matrixOf(entry, bytes, options)));
    const vector = (entry: TensorEntry) => gpu.step(entry.name, () => held.keep(vectorOf(entry, bytes)));
    const terms = new Map<string, LoraTerm>();
    for (const [name, { a, b, bBias, magnitude, scale }] of file.modules) {
      terms.set(name, {
        a: matrix(a), // [R, in] in the file, [in, R] here
        b: matrix(b), // [out, R] in the file, [R, out] here
        scale,
        activation: file.config.activation,
        ...(bBias && { bBias: vector(bBias) }),
        ...(magnitude && { dora: { magnitude: vector(magnitude), norm: null, weight: 1 } }),
      });
    }
    const saved = new Map<string, SavedMap>();
    for (const [name, { weight, bias }] of wholes)
      saved.set(name, { weight: matrix(weight), bias: bias ? vector(bias) : null });
    await gpu.end();
    const convolutions = [...targets].filter(([, { shape }]) => shape.length > 2);
    return {
      name: file.task,
      rank: Math.max(0, ...[...terms.values()].map(({ a }) => a.outSize)),
      terms,
      saved,
      kernels: new Map(convolutions.map(([name, { shape }]) => [name, shape])),
      parameters: entries.reduce((sum, entry) => sum + elementCount(entry.shape), 0),
      dispose: () => held.dispose(),
    };
  } catch (error) {
    held.dispose();
    throw error;
  }
}

// An embedding stops before the language model's head, which trainers like to save.
const isNeverUsed = (name: string): boolean => name === 'lm_head';

/** The adapters of a tree that are asked for, under the names that they shall have. @throws InputError where there is none */
export async function chosenAdapters(
  tree: FileTree,
  { task, name, signal }: { task?: string; name?: string; signal?: AbortSignal },
): Promise<readonly AdapterFile[]> {
  const all = await listAdapterFiles(tree, { signal });
  const files = task === undefined ? all : all.filter((file) => file.task === task);
  const there = all.map((file) => file.task).join(', ') || 'no adapter';
  if (files.length === 0) {
    throw new InputError(
      `${tree.name} holds ${there}${task === undefined ? '' : `, not "${task}"`}; give a folder with ` +
        'adapter_config.json and adapter_model.safetensors',
    );
  }
  if (name === undefined) return files;
  if (files.length > 1)
    throw new InputError(`${tree.name} holds ${there}: say which one shall be called "${name}" (task)`);
  return [{ ...files[0], task: name }];
}

/** A matrix, or a convolution's weight as one: [out, everything else]. */
function matrixOf(entry: TensorEntry, bytes: LentBytes, { residence }: LoadAdapterOptions): Matrix {
  const [outSize] = entry.shape;
  const inSize = elementCount(entry.shape) / outSize;
  const raw = { bytes: bytes.get(entry.name) as Uint8Array, dtype: entry.dtype, outSize, inSize };
  return residence === 'float32' ? matrixStore().float32(raw) : matrixStore().packed(raw);
}

function vectorOf(entry: TensorEntry, bytes: LentBytes): tf.Tensor1D {
  const values = new Float32Array(elementCount(entry.shape));
  widenInto(bytes.get(entry.name) as Uint8Array, entry.dtype, values);
  return tf.tensor1d(values);
}

/** The maps of the model that the file's modules sit on. */
function checkModules(
  file: AdapterFile,
  wholes: AdapterFile['saved'],
  spec: ModelSpec,
): ReadonlyMap<string, LinearSpec> {
  const leaves = leavesOf(spec);
  const linears = new Map(leaves.flatMap((l) => (l.leaf === 'linear' ? [[l.name, l] as const] : [])));
  const targets = new Map<string, LinearSpec>();
  const problems: string[] = [];
  const targetOf = (name: string): LinearSpec | null => {
    const target = linears.get(name);
    if (target) targets.set(name, target);
    else if (leaves.some((l) => l.name === `${name}.weight`))
      problems.push(
        `unsupported ${name}: only linear maps can be saved whole (modules_to_save) or carry a LoRA`,
      );
    else problems.push(`unexpected  ${name}: the model has no linear map of this name`);
    return target ?? null;
  };
  for (const [name, { a, b }] of file.modules) {
    const target = targetOf(name);
    if (!target) continue;
    const kernel = target.shape.slice(1);
    const fits = a.shape.length > 2 ? sameShape(a.shape.slice(1), kernel) : a.shape[1] === target.inSize;
    if (!fits || b.shape[0] !== target.outSize) {
      problems.push(
        `wrong shape ${name}: expected A [r, ${kernel.join(', ')}] and B [${target.outSize}, r], ` +
          `found A [${a.shape.join(', ')}] and B [${b.shape.join(', ')}]`,
      );
    }
  }
  for (const [name, { weight, bias }] of wholes) {
    const target = targetOf(name);
    if (!target) continue;
    if (!sameShape(weight.shape, target.shape)) {
      problems.push(
        `wrong shape ${name}: expected [${target.shape.join(', ')}], found [${weight.shape.join(', ')}]`,
      );
    }
    const biasShape = target.bias ? [target.outSize] : null;
    if (!sameShape(bias?.shape ?? null, biasShape)) {
      const shown = (shape?: readonly number[] | null) => (shape ? `[${shape.join(', ')}]` : 'none');
      problems.push(`wrong bias  ${name}: expected ${shown(biasShape)}, found ${shown(bias?.shape)}`);
    }
  }
  if (problems.length === 0) return targets;
  const title = `adapter "${file.task}" does not fit this model (${counted(problems.length, 'module')}):`;
  throw new CheckpointError(listProblems(title, problems));
}

const sameShape = (a: readonly number[] | null, b: readonly number[] | null): boolean =>
  a === null || b === null ? a === b : a.length === b.length && a.every((n, axis) => n === b[axis]);
