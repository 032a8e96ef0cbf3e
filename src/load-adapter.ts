import * as tf from '@tensorflow/tfjs-core';
import {
  type EmbeddingTable,
  float32Matrix,
  type LoraTerm,
  type Matrix,
  matrixStore,
} from '../kernels/index.ts';
import { type AdapterFile, listAdapterFiles } from '../weights/adapter-files.ts';
import type { FileTree } from '../weights/byte-source.ts';
import { elementCount, widenInto } from '../weights/dtypes.ts';
import { counted, listProblems } from '../weights/problem-list.ts';
import { type LentBytes, readAhead } from '../weights/read-ahead.ts';
import type { TensorEntry } from '../weights/safetensors.ts';
import type { Adapter, SavedMap, SavedNorm } from './adapters/with-adapters.ts';
import { watchGpu } from './device-call.ts';
import { CheckpointError, InputError } from './errors.ts';
import { Held } from './held.ts';
import type { LeafSpec } from './layers/spec.ts';
import { tableOf, type WeightResidence } from './load.ts';
import { leavesOf, type ModelSpec, placesOf } from './params.ts';

export type LoadAdapterOptions = { readonly residence?: WeightResidence; readonly signal?: AbortSignal };

/**
 * A LoRA file → an adapter in memory, resident whatever the base is. Every module must be one of this model and every tensor
 * must fit it: a misfit is told before a tensor is read, never skipped (a LoRA that silently does not load
 * leaves the plain backbone, which looks like a working model). A DoRA's terms still lack the lengths of their maps:
 * `EmbeddingModel.placeAdapter` measures them.
 * @throws CheckpointError listing every misfit
 */
export async function loadAdapter(
  file: AdapterFile,
  spec: ModelSpec,
  options: LoadAdapterOptions = {},
): Promise<Adapter> {
  const targets = checkModules(file, spec);
  const places = placesOf(spec);
  const held = new Held();
  const gpu = watchGpu(`loading adapter "${file.task}"`);
  try {
    const parts = [...file.modules.values(), ...file.saved.values()].flatMap((m) => Object.values(m));
    const entries = parts.filter((part): part is TensorEntry => typeof part === 'object');
    const bytes = await readAhead([entries], { once: true }).take(0, options.signal);
    const matrix = (entry: TensorEntry) =>
      gpu.step(entry.name, () => held.keep(matrixOf(entry, bytes, options)));
    const vector = (entry: TensorEntry) => gpu.step(entry.name, () => held.keep(vectorOf(entry, bytes)));
    const lookedUp = (entry: TensorEntry) =>
      gpu.step(entry.name, () => held.keep(plainMatrixOf(entry, bytes)));
    const terms = new Map<string, LoraTerm>();
    for (const [name, { a, b, bBias, magnitude, scale, table }] of file.modules) {
      terms.set(name, {
        a: table ? lookedUp(a) : matrix(a), // [R, in] in the file, [in, R] here
        b: matrix(b), // [out, R] in the file, [R, out] here
        scale,
        activation: file.config.activation,
        ...(bBias && { bBias: vector(bBias) }),
        ...(magnitude && { dora: { magnitude: vector(magnitude), norm: null, weight: 1 } }),
      });
    }
    const saved = new Map<string, SavedMap>();
    const norms = new Map<string, SavedNorm>();
    let table: EmbeddingTable | undefined;
    for (const [name, { weight, bias }] of file.saved) {
      const target = targets.get(name) as LeafSpec;
      if (weight && target.leaf === 'tensor')
        norms.set(name, { place: places.get(target) as string, weight: vector(weight) });
      else if (weight && target.leaf === 'table')
        table = tableOf(new Uint8Array(bytes.get(weight.name) as Uint8Array), weight.dtype, ...target.shape);
      else if (weight) saved.set(name, { weight: matrix(weight), bias: bias ? vector(bias) : null });
      else if (bias) saved.set(name, { bias: vector(bias) });
    }
    await gpu.end();
    const convolutions = [...targets].filter(([, { leaf, shape }]) => leaf === 'linear' && shape.length > 2);
    return {
      name: file.task,
      rank: Math.max(0, ...[...terms.values()].map(({ a }) => a.outSize)),
      terms,
      saved,
      norms,
      ...(table && { table }),
      kernels: new Map(convolutions.map(([name, { shape }]) => [name, shape])),
      parameters: entries.reduce((sum, entry) => sum + elementCount(entry.shape), 0),
      dispose: () => held.dispose(),
    };
  } catch (error) {
    held.dispose();
    throw error;
  }
}

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

/** A matrix that is a plain tensor, so that its rows can be looked up.   [R, in] in the file → [in, R] */
function plainMatrixOf(entry: TensorEntry, bytes: LentBytes): Matrix {
  const values = new Float32Array(elementCount(entry.shape));
  widenInto(bytes.get(entry.name) as Uint8Array, entry.dtype, values);
  const [rows, columns] = entry.shape;
  return float32Matrix(tf.tidy(() => tf.transpose(tf.tensor2d(values, [rows, columns]))));
}

function vectorOf(entry: TensorEntry, bytes: LentBytes): tf.Tensor1D {
  const values = new Float32Array(elementCount(entry.shape));
  widenInto(bytes.get(entry.name) as Uint8Array, entry.dtype, values);
  return tf.tensor1d(values);
}

/** The parts of the model that the file changes or replaces, by module. */
function checkModules(file: AdapterFile, spec: ModelSpec): ReadonlyMap<string, LeafSpec> {
  const leaves = new Map(leavesOf(spec).map((l) => [l.name.replace(/\.weight$/, ''), l]));
  const targets = new Map<string, LeafSpec>();
  const problems: string[] = [];
  const targetOf = (name: string): LeafSpec | null => {
    const target = leaves.get(name);
    if (target) targets.set(name, target);
    else problems.push(`unexpected  ${name}: the model has nothing of this name`);
    return target ?? null;
  };
  for (const [name, { a, b, table }] of file.modules) {
    const target = targetOf(name);
    if (!target) continue;
    if (target.leaf !== (table ? 'table' : 'linear')) {
      problems.push(`unexpected  ${name}: a LoRA of a ${table ? 'table' : 'linear map'}, which it is not`);
      continue;
    }
    const [outSize, ...kernel] = target.leaf === 'table' ? [target.shape[1], target.shape[0]] : target.shape;
    const fits =
      a.shape.length > 2
        ? sameShape(a.shape.slice(1), kernel)
        : a.shape[1] === kernel.reduce((n, size) => n * size, 1);
    if (!fits || b.shape[0] !== outSize) {
      problems.push(
        `wrong shape ${name}: expected A [r, ${kernel.join(', ')}] and B [${outSize}, r], ` +
          `found A [${a.shape.join(', ')}] and B [${b.shape.join(', ')}]`,
      );
    }
  }
  for (const [name, { weight, bias }] of file.saved) {
    const target = targetOf(name);
    if (!target) continue;
    if (weight && !sameShape(weight.shape, target.shape)) {
      problems.push(
        `wrong shape ${name}: expected [${target.shape.join(', ')}], found [${weight.shape.join(', ')}]`,
      );
    }
    const biasShape = target.leaf === 'linear' && target.bias ? [target.outSize] : null;
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
