import { getThreadsCount } from '@tensorflow/tfjs-backend-wasm';
import * as tf from '@tensorflow/tfjs-core';
import { gpuIdle, takeGpuErrors } from '../../../src/device-webgpu.ts';
import { JinaEmbeddings } from '../../../src/platform/browser.ts';

/** What the test asks a page or a worker to do. */
export type Job = {
  readonly source: string;
  readonly device: 'wasm' | 'webgpu' | 'cpu' | 'auto';
  readonly threads?: number;
  readonly wasmPath?: string;
  readonly texts: readonly string[];
  readonly images: readonly string[];
};

/** Vectors travel as lists of numbers: an answer must survive postMessage and JSON. */
export type Answer = {
  readonly reason: string;
  /** Threads that the wasm backend says it computes with; null on another backend. */
  readonly threads: number | null;
  readonly texts: readonly (readonly number[])[];
  readonly images: readonly (readonly number[])[];
  /** Multi-vectors of the first text, row after row. */
  readonly multi: readonly number[];
  /** Tensors on a page that had none: after loading, after each of two calls, after dispose. */
  readonly tensors: readonly number[];
  readonly gpuErrors: readonly string[];
  readonly cores: number;
  readonly milliseconds: { readonly load: number; readonly encode: number };
};

/** The whole road as an application walks it: load, embed twice, dispose. */
export async function runJob({ source, texts, images, ...options }: Job): Promise<Answer> {
  const begin = performance.now();
  const tensors: number[] = [];
  const count = () => tensors.push(tf.memory().numTensors);

  const model = await JinaEmbeddings.load(source, options);
  const loaded = performance.now();
  count();
  const textVectors = await model.encodeText(texts);
  const imageVectors = images.length > 0 ? await model.encodeImage(images) : [];
  count();
  const encoded = performance.now();
  const multi = await model.encodeText(texts[0], { returnMultivector: true });
  count();
  await gpuIdle();
  model.dispose();
  count();
  return {
    reason: model.device.reason,
    threads: model.device.backend === 'wasm' ? getThreadsCount() : null,
    texts: textVectors.map((v) => [...v]),
    images: imageVectors.map((v) => [...v]),
    multi: multi.flatMap((row) => [...row]),
    tensors,
    gpuErrors: takeGpuErrors(),
    cores: navigator.hardwareConcurrency,
    milliseconds: { load: Math.round(loaded - begin), encode: Math.round(encoded - loaded) },
  };
}
