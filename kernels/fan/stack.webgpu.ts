import type * as tf from '@tensorflow/tfjs-core';
import { bufferOf, type WebGpu, webgpuBackend } from '../webgpu/backend.ts';
import type { AffineMap } from './fan.ts';
import { rowsOf } from './row-words.ts';

/** B matrices and biases of several maps in one buffer of pairs of words: each by itself would be a binding too many. */
export type Stack = {
  readonly buffer: GPUBuffer;
  /** Pair of words where a map's B begins. */
  readonly ups: readonly number[];
  /** Where the biases begin, a value for every column of the maps. */
  readonly biases: number;
};

type Kept = Stack & { readonly sources: readonly (readonly [tf.Tensor, dataId: object])[] };

const stacks = new WeakMap<GPUDevice, Kept[]>();

/** The stack of these maps: made at its first use, and kept as long as the tensors that it was copied from. */
export function stackOf(maps: readonly AffineMap[]): Stack {
  const backend = webgpuBackend();
  const tensors = sourcesOf(maps);
  const known = stacks.get(backend.device) ?? [];
  const found = known.find(
    ({ sources }) =>
      sources.length === tensors.length &&
      sources.every(([tensor, id], i) => tensor === tensors[i] && tensor.dataId === id),
  );
  if (found) return found;
  const made: Kept = { ...copied(backend, maps), sources: tensors.map((t) => [t, t.dataId]) };
  stacks.set(backend.device, [...known, made]);
  return made;
}

/** Frees the stacks whose tensors are disposed, as those of an adapter that was removed. Submit what is recorded before.   → these */
export function dropOldStacks(device: GPUDevice): readonly GPUBuffer[] {
  const known = stacks.get(device) ?? [];
  const old = known.filter(isOld);
  for (const { buffer } of old) buffer.destroy();
  if (old.length > 0) {
    stacks.set(
      device,
      known.filter((stack) => !old.includes(stack)),
    );
  }
  return old.map(({ buffer }) => buffer);
}

const isOld = ({ sources }: Kept): boolean =>
  sources.some(([tensor, id]) => tensor.isDisposed || tensor.dataId !== id);

const upsOf = (maps: readonly AffineMap[]) => maps.map(({ lora: [term] }) => (term ? rowsOf(term.b) : null));

const sourcesOf = (maps: readonly AffineMap[]): readonly tf.Tensor[] =>
  [...upsOf(maps), ...maps.map(({ bias }) => bias)].filter((t): t is tf.Tensor => t !== null);

const WORDS = 2;
const BYTES = 4;

function copied(backend: WebGpu, maps: readonly AffineMap[]): Stack {
  const ups: number[] = [];
  const copies: { from: tf.Tensor; at: number }[] = [];
  let at = 0; // words
  for (const up of upsOf(maps)) {
    ups.push(at / WORDS);
    if (up) copies.push({ from: up, at });
    at += up?.size ?? 0; // whole fours, of two words at least
  }
  const biases = at / WORDS;
  for (const { weight, bias } of maps) {
    if (bias) copies.push({ from: bias, at });
    at += weight.outSize;
  }
  const buffer = backend.device.createBuffer({
    label: 'Heads (B and bias)',
    size: BYTES * WORDS * Math.ceil(at / WORDS),
    usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST,
  });
  const from = copies.map((copy) => bufferOf(backend, copy.from)); // uploads come before the commands
  backend.ensureCommandEncoderReady();
  backend.endComputePassEncoder();
  copies.forEach(({ from: { size }, at: to }, i) => {
    backend.commandEncoder.copyBufferToBuffer(from[i], 0, buffer, BYTES * to, BYTES * size);
  });
  // Streamed biases are disposed before this is submitted: till then nobody may write into their buffers.
  for (const copy of copies) backend.commandQueueOwnedIds.add(copy.from.dataId);
  return { buffer, ups, biases };
}
