import * as tf from '@tensorflow/tfjs-core';
import { l2Normalize, meanPool } from '../kernels/index.ts';
import { type BatchLimits, planBatches } from './batches.ts';
import type { Config, Settings } from './config.ts';
import type { DeviceChoice } from './device.ts';
import type { EmbeddingModel } from './embedding-model.ts';
import { InputError } from './errors.ts';
import type { ImageProcessor } from './image/image-processor.ts';
import type { ImageInput } from './image/rgb-image.ts';
import type { WeightResidence } from './load.ts';
import type { EmbeddingDetails, EmbeddingOf, EncodeOptions, MixedInput } from './options.ts';
import { quantize, type Vector } from './output/quantize.ts';
import { type Embedding, isMulti, type Metric, similarityMatrix, similarityOf } from './output/similarity.ts';
import { kindOf, type Prepared, prepareImage, prepareText, type Request } from './prepare.ts';
import type { TextTokenizer } from './text/tokenizer.ts';

/** The device that was chosen, and where the weights live there. */
export type RunDevice = DeviceChoice & { readonly residence: WeightResidence };

/** The parts that make up an embedder; `openEmbedder` reads them from a checkpoint. */
export type EmbedderParts = {
  readonly model: EmbeddingModel;
  readonly tokenizer: TextTokenizer;
  readonly images: ImageProcessor;
  readonly config: Config;
  readonly device: RunDevice;
  /** What the checkpoint is called in messages. */
  readonly name: string;
};

/**
 * The high-level API: texts and images in, vectors out. Order is kept; a single item gives a single embedding, a list a
 * list; nothing is padded, and a result never depends on what else is in the call.
 */
export class EmbedderCore {
  readonly model: EmbeddingModel;
  readonly tokenizer: TextTokenizer;
  readonly images: ImageProcessor;
  readonly config: Config;
  /** Where this runs, and why there. */
  readonly device: RunDevice;
  readonly name: string;
  readonly #details = new WeakMap<object, EmbeddingDetails>();
  #disposed = false;
  #last: Promise<unknown> = Promise.resolve();

  constructor(parts: EmbedderParts) {
    this.model = parts.model;
    this.tokenizer = parts.tokenizer;
    this.images = parts.images;
    this.config = parts.config;
    this.device = parts.device;
    this.name = parts.name;
  }

  /** Tasks that can be asked for: the adapters, and the aliases that lead to one. */
  get tasks(): readonly string[] {
    const names = [...this.model.adapters.keys()];
    const aliases = Object.entries(this.config.settings.taskAliases);
    return [
      ...names,
      ...aliases.filter(([a, to]) => !names.includes(a) && names.includes(to)).map(([a]) => a),
    ];
  }

  encodeText<const O extends EncodeOptions = EncodeOptions>(
    text: string,
    options?: O,
  ): Promise<EmbeddingOf<O>>;
  encodeText<const O extends EncodeOptions = EncodeOptions>(
    texts: readonly string[],
    options?: O,
  ): Promise<EmbeddingOf<O>[]>;
  /** Texts → embeddings. `InputError` for an empty list, an unknown task, prompt or size. An empty text is valid. */
  async encodeText(input: string | readonly string[], options: EncodeOptions = {}): Promise<unknown> {
    const texts = typeof input === 'string' ? [input] : input;
    const stray = texts.findIndex((t) => typeof t !== 'string');
    if (stray >= 0)
      throw new InputError(
        `text ${stray} is not a string but ${describe(texts[stray])}; use encodeImage for images`,
      );
    const results = await this.#run(
      texts.map((text) => ({ type: 'text', text })),
      options,
    );
    return typeof input === 'string' ? results[0] : results;
  }

  encodeImage<const O extends EncodeOptions = EncodeOptions>(
    image: ImageInput,
    options?: O,
  ): Promise<EmbeddingOf<O>>;
  encodeImage<const O extends EncodeOptions = EncodeOptions>(
    images: readonly ImageInput[],
    options?: O,
  ): Promise<EmbeddingOf<O>[]>;
  /** Images (paths, URLs, bytes, Blobs, raw pixels) → embeddings. `InputError` for what is no image that can be read. */
  async encodeImage(
    input: ImageInput | readonly ImageInput[],
    options: EncodeOptions = {},
  ): Promise<unknown> {
    const images = Array.isArray(input) ? (input as readonly ImageInput[]) : [input as ImageInput];
    const results = await this.#run(
      images.map((image) => ({ type: 'image', image })),
      options,
    );
    return Array.isArray(input) ? results : results[0];
  }

  /** A mixed list: split by kind, run, merged back in order. */
  async encode<const O extends EncodeOptions = EncodeOptions>(
    inputs: readonly MixedInput[],
    options: O = {} as O,
  ): Promise<EmbeddingOf<O>[]> {
    return (await this.#run(inputs.map(kindOf), options)) as EmbeddingOf<O>[];
  }

  similarity(a: Embedding, b: Embedding, metric?: Metric): number;
  similarity(
    a: readonly Embedding[],
    b: readonly Embedding[],
    metric?: Metric,
  ): readonly (readonly number[])[];
  /** Of two embeddings a number, of two lists the matrix of all pairs. A multi-vector is itself a list of vectors. */
  similarity(
    a: Embedding | readonly Embedding[],
    b: Embedding | readonly Embedding[],
    metric?: Metric,
  ): unknown {
    const lone = (x: Embedding | readonly Embedding[]) => !Array.isArray(x) || this.#details.has(x);
    if (lone(a) && lone(b)) return similarityOf(a as Embedding, b as Embedding, metric);
    const list = (x: Embedding | readonly Embedding[]) =>
      lone(x) ? [x as Embedding] : (x as readonly Embedding[]);
    return similarityMatrix(list(a), list(b), metric);
  }

  /** What is known about an embedding that this object returned: task, adapter that ran, tokens, quantisation scale. */
  detailsOf(embedding: Embedding): EmbeddingDetails | undefined {
    return this.#details.get(embedding);
  }

  /** Frees the model. The object cannot be used afterwards. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.model.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  async #run(
    inputs: readonly ({ type: 'text'; text: string } | { type: 'image'; image: ImageInput })[],
    options: EncodeOptions,
  ): Promise<Embedding[]> {
    if (this.#disposed) throw new InputError('this model was disposed; load it again');
    if (inputs.length === 0) throw new InputError('nothing to embed: the list is empty');
    const settings = this.#settings(options);
    const tasks = this.#tasksOf(inputs.length, options, settings);
    const requests: Request[] = inputs.map((input, index) => ({ ...input, index, ...tasks[index] }));
    const limits = {
      batchSize: settings.batchSize ?? this.device.batchSize,
      tokenBudget: settings.tokenBudget,
    };
    const results = new Array<Embedding>(inputs.length);
    let done = 0;
    for await (const batch of this.#batches(requests, settings, options, limits)) {
      options.signal?.throwIfAborted();
      const embeddings = await this.#alone(() => this.#runBatch(batch, settings, options));
      batch.forEach(({ request }, i) => {
        results[request.index] = embeddings[i];
      });
      done += batch.length;
      options.onProgress?.(done, inputs.length);
    }
    return results;
  }

  /** Calls may overlap, batches may not: two at once would double the memory, and streamed blocks come in one order. */
  #alone<T>(run: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(run, run);
    this.#last = turn.catch(() => {});
    return turn;
  }

  /** Texts grouped by adapter and length, then images in their order (their pixels are read one batch at a time). */
  async *#batches(
    requests: readonly Request[],
    settings: Settings,
    options: EncodeOptions,
    limits: BatchLimits,
  ): AsyncGenerator<readonly Prepared[]> {
    const texts = requests
      .filter((r) => r.type === 'text')
      .map((r) => prepareText(r, this.tokenizer, settings, options));
    for (const group of groupBy(texts, (t) => t.request.adapter)) {
      for (const batch of planBatches(
        group.map((t) => t.ids.length),
        limits,
      ))
        yield batch.map((i) => group[i]);
    }
    let batch: Prepared[] = [];
    let tokens = 0;
    for (const request of requests) {
      if (request.type !== 'image') continue;
      const next = await prepareImage(request, this.tokenizer, this.images, settings, options.signal);
      if (
        batch.length > 0 &&
        (batch.length >= limits.batchSize || tokens + next.ids.length > limits.tokenBudget)
      ) {
        yield batch;
        [batch, tokens] = [[], 0];
      }
      batch.push(next);
      tokens += next.ids.length;
    }
    if (batch.length > 0) yield batch;
  }

  /** One run of the tower for all images of the batch, one run of the decoder for each adapter. */
  async #runBatch(
    batch: readonly Prepared[],
    settings: Settings,
    options: EncodeOptions,
  ): Promise<Embedding[]> {
    const images = batch.flatMap((p) => p.image ?? []);
    const seen = images.length
      ? await this.model.see(
          { pixelValues: concatFloats(images.map((i) => i.pixelValues)), grids: images.map((i) => i.grid) },
          options,
        )
      : null;
    try {
      const results = new Map<Prepared, Embedding>();
      for (const group of groupBy(batch, (p) => p.request.adapter)) {
        const own = seen && group.length < batch.length ? takeTokens(seen, batch, group) : seen;
        try {
          const embeddings = await this.#embedGroup(group, own, settings, options);
          group.forEach((p, i) => {
            results.set(p, embeddings[i]);
          });
        } finally {
          if (own !== seen) own?.dispose();
        }
      }
      return batch.map((p) => results.get(p) as Embedding);
    } finally {
      seen?.dispose();
    }
  }

  async #embedGroup(
    group: readonly Prepared[],
    seen: tf.Tensor2D | null,
    settings: Settings,
    options: EncodeOptions,
  ): Promise<Embedding[]> {
    const { adapter } = group[0].request;
    const sequences = group.map((p) => ({ ids: p.ids, grids: p.image ? [p.image.grid] : [] }));
    const hidden = await this.model.forward(sequences, { seen, adapter, signal: options.signal });
    let values: Float32Array;
    let width: number;
    try {
      const output = tf.tidy(() =>
        options.returnMultivector
          ? this.model.multiVectors(hidden, adapter)
          : this.#singleVectors(hidden, group, settings),
      );
      width = output.shape[1];
      values = (await output.data()) as Float32Array;
      output.dispose();
    } finally {
      hidden.dispose();
    }
    let row = 0;
    return group.map((p) => {
      const rows = options.returnMultivector ? p.ids.length : 1;
      const quantized = Array.from({ length: rows }, () => {
        const vector = values.slice(row * width, ++row * width);
        return quantize(vector, settings.precision);
      });
      const embedding: Embedding = options.returnMultivector
        ? quantized.map((q) => q.values)
        : quantized[0].values;
      this.#details.set(embedding, {
        type: p.request.type,
        task: p.request.task,
        adapter,
        tokens: p.ids.length,
        truncated: p.truncated,
        scale: quantized[0].scale,
        zero: quantized[0].zero,
      });
      return embedding;
    });
  }

  /** Mean over each span, cut to the Matryoshka size, then L2: the same numbers as cutting the unit vector and L2 again. */
  #singleVectors(hidden: tf.Tensor2D, group: readonly Prepared[], settings: Settings): tf.Tensor2D {
    let begin = 0;
    const spans = group.map(({ ids, span }) => {
      const moved = { begin: begin + span.begin, end: begin + span.end };
      begin += ids.length;
      return moved;
    });
    const full = meanPool(hidden, spans);
    const size = settings.truncateDim ?? this.model.config.truncateDim ?? full.shape[1];
    const cut = tf.slice(full, [0, 0], [spans.length, size]);
    return settings.normalize ? l2Normalize(cut) : cut;
  }

  #settings(options: EncodeOptions): Settings {
    const { signal, onProgress, returnMultivector, specialTokens, task, ...rest } = options;
    const settings = this.config.with({ ...rest, ...(typeof task === 'string' ? { task } : {}) }).settings;
    const { matryoshkaDims } = this.model.config;
    if (settings.truncateDim !== null && !matryoshkaDims.includes(settings.truncateDim)) {
      throw new InputError(
        `truncateDim ${settings.truncateDim} is not a size this model was trained for (${matryoshkaDims.join(', ')}); ` +
          'use the next larger one and cut the rest yourself',
      );
    }
    if (returnMultivector && typeof options.truncateDim === 'number') {
      throw new InputError(
        'truncateDim applies to single vectors; multi-vectors have one size. Leave one of the two options out',
      );
    }
    return settings;
  }

  /** Task and adapter of every input. */
  #tasksOf(
    count: number,
    options: EncodeOptions,
    settings: Settings,
  ): readonly { task: string | null; adapter: string | null }[] {
    const { task } = options;
    if (Array.isArray(task)) {
      if (task.length !== count)
        throw new InputError(
          `there are ${count} inputs but ${task.length} tasks; give one task, or one for each input`,
        );
      return task.map((t) => this.#resolveTask(t, settings));
    }
    const byDefault = settings.task ?? this.model.adapters.keys().next().value ?? null;
    const one = this.#resolveTask(task === undefined ? byDefault : (task as string | null), settings);
    return new Array(count).fill(one);
  }

  #resolveTask(task: string | null, settings: Settings): { task: string | null; adapter: string | null } {
    if (task === null || this.model.adapters.has(task)) return { task, adapter: task };
    const alias = settings.taskAliases[task];
    if (alias !== undefined && this.model.adapters.has(alias)) return { task, adapter: alias };
    throw new InputError(
      `unknown task "${task}"; ${this.name} has ${this.tasks.join(', ') || 'no adapters'} (null runs the backbone alone)`,
    );
  }
}

function groupBy<T, K>(items: readonly T[], key: (item: T) => K): readonly (readonly T[])[] {
  const groups = new Map<K, T[]>();
  for (const item of items) {
    const group = groups.get(key(item));
    if (group) group.push(item);
    else groups.set(key(item), [item]);
  }
  return [...groups.values()];
}

/** The visual tokens of some of the batch's images.   seen: [M, D] → [M', D] */
function takeTokens(seen: tf.Tensor2D, batch: readonly Prepared[], group: readonly Prepared[]): tf.Tensor2D {
  let begin = 0;
  const parts: [number, number][] = [];
  for (const p of batch) {
    const tokens = p.image?.tokens ?? 0;
    if (group.includes(p)) parts.push([begin, tokens]);
    begin += tokens;
  }
  return tf.tidy(() =>
    tf.concat(
      parts.map(([first, count]) => tf.slice(seen, [first, 0], [count, seen.shape[1]])),
      0,
    ),
  );
}

function concatFloats(parts: readonly Float32Array[]): Float32Array {
  if (parts.length === 1) return parts[0];
  const all = new Float32Array(parts.reduce((sum, p) => sum + p.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

const describe = (value: unknown): string => (value === null ? 'null' : typeof value);

export type { Vector };
export { isMulti };
