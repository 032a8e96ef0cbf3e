import type { OutputPrecision } from '../config.ts';
import { CheckpointError } from '../errors.ts';
import { type Embedding, isMulti } from '../output/similarity.ts';
import { UsageError } from './exit.ts';

/** An input's embedding on its way out. */
export type Embedded = {
  readonly index: number;
  readonly id?: unknown;
  readonly type: 'text' | 'image';
  readonly embedding: Embedding;
};

/** Takes embeddings in order, a few at a time, so that a million of them need no memory. */
export type EmbeddingWriter = {
  write(rows: readonly Embedded[]): Promise<void>;
  /** Completes the output. `about`: what a file can say of its making. */
  finish(about: Readonly<Record<string, string>>): Promise<void>;
  /** Leaves nothing behind; after `finish` nothing happens. */
  discard(): Promise<void>;
};

export type OutputFormat = 'jsonl' | 'npy' | 'safetensors';

/** The format that a file's name asks for. */
export function formatOf(path: string, { multivector = false } = {}): OutputFormat {
  const ending = /\.(jsonl|npy|safetensors)$/i.exec(path)?.[1].toLowerCase() as OutputFormat | undefined;
  if (ending === undefined)
    throw new UsageError(`--output ${path}: unknown ending; use .jsonl, .npy or .safetensors`);
  if (ending === 'npy' && multivector) {
    throw new UsageError(
      `--output ${path}: with --multivector every input has its own number of vectors, which one .npy array cannot hold; ` +
        'use .safetensors or .jsonl',
    );
  }
  return ending;
}

/** How the elements of a result are called in files. */
export const ELEMENT = {
  float32: { npy: '<f4', safetensors: 'F32' },
  float16: { npy: '<f2', safetensors: 'F16' },
  int8: { npy: '|i1', safetensors: 'I8' },
  uint8: { npy: '|u1', safetensors: 'U8' },
  binary: { npy: '|i1', safetensors: 'I8' },
  ubinary: { npy: '|u1', safetensors: 'U8' },
} as const satisfies Record<OutputPrecision, { npy: string; safetensors: string }>;

/** A vector's bytes as they lie in memory. Little-endian, as every machine that TF.js runs on is. */
export const bytesOf = (v: ArrayBufferView): Uint8Array =>
  new Uint8Array(v.buffer, v.byteOffset, v.byteLength);

/** NaN has no place in JSON, and in a file it would poison every later sum. */
export function checkFinite({ index, embedding }: Embedded): void {
  const vectors = isMulti(embedding) ? embedding : [embedding];
  if (vectors.every((v) => !(v instanceof Float32Array) || v.every(Number.isFinite))) return;
  throw new CheckpointError(
    `the embedding of input ${index} is not finite; the weights are damaged, or the arithmetic is too coarse: ` +
      'download the checkpoint again, or try --device cpu',
  );
}
