import type { FileTree } from '../weights/byte-source.ts';
import type { Adapter } from './adapters/with-adapters.ts';
import type { Config, Settings } from './config.ts';
import type { DeviceChoice } from './device.ts';
import { gpuCall } from './device-call.ts';
import type { Door } from './door.ts';
import type { EmbeddingModel } from './embedding-model.ts';
import { DeviceLostError, InputError } from './errors.ts';
import type { ImageProcessor } from './image/image-processor.ts';
import type { ImageInput } from './image/rgb-image.ts';
import type { WeightResidence } from './load.ts';
import { chosenAdapters, loadAdapter } from './load-adapter.ts';
import type { MemoryPlan } from './memory-plan.ts';
import type { EmbeddingDetails, EmbeddingOf, EncodeOptions, MixedInput } from './options.ts';
import { type Embedding, type Metric, similarityMatrix, similarityOf } from './output/similarity.ts';
import { kindOf, type Request } from './prepare.ts';
import { preparedBatches } from './prepared-batches.ts';
import { passOf, runBatch, sharesPasses } from './run-batch.ts';
import { taskChoices } from './task-choices.ts';
import type { TextTokenizer } from './text/tokenizer.ts';
import { checkSizes, tasksOf } from './wishes.ts';

/** The device that was chosen, and where the weights live there. */
export type RunDevice = DeviceChoice & {
  readonly residence: WeightResidence;
  /** The peak that was predicted before loading. */
  readonly plan: MemoryPlan;
};

/** The parts that make up an embedder; `openEmbedder` reads them from a checkpoint. */
export type EmbedderParts = {
  readonly model: EmbeddingModel;
  readonly tokenizer: TextTokenizer;
  readonly images: ImageProcessor;
  readonly config: Config;
  readonly device: RunDevice;
  /** What the checkpoint is called in messages. */
  readonly name: string;
  readonly openTree: Door['openTree'];
};

export type LoadAdapterSource = {
  /** Which one, where the source holds several. Default: all of them. */
  readonly task?: string;
  /** What it is called here, for one adapter. Default: its task, or the folder's name. */
  readonly name?: string;
  /** Take the place of the adapter of that name, if there is one. Default: a name that is taken is an error. */
  readonly replace?: boolean;
  readonly signal?: AbortSignal;
};

/**
 * The high-level API: texts and images in, vectors out. Order is kept; a single item gives a single embedding, a list a
 * list; nothing is padded, and a result does not depend, but for its last bits, on what else is in the call.
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
  readonly #openTree: EmbedderParts['openTree'];
  #disposed = false;

  constructor(parts: EmbedderParts) {
    this.model = parts.model;
    this.tokenizer = parts.tokenizer;
    this.images = parts.images;
    this.config = parts.config;
    this.device = parts.device;
    this.name = parts.name;
    this.#openTree = parts.openTree;
  }

  /** Tasks that can be asked for: the adapters, and the aliases that lead to one. */
  get tasks(): readonly string[] {
    return tasksOf([...this.model.adapters.keys()], this.config.settings.taskAliases);
  }

  encodeText<const O extends EncodeOptions = EncodeOptions>(
    text: string,
    options?: O,
  ): Promise<EmbeddingOf<O>>;
  encodeText<const O extends EncodeOptions = EncodeOptions>(
    texts: readonly string[],
    options?: O,
  ): Promise<EmbeddingOf<O>[]>;
  /**
   * Texts → embeddings. `InputError` for an empty list, an unknown task, prompt or size. An empty text is valid.
   * `DeviceError` where the GPU refuses, `DeviceLostError` where it goes away: the next call takes a new one.
   */
  async encodeText(input: string | readonly string[], options: EncodeOptions = {}): Promise<unknown> {
    const texts = typeof input === 'string' ? [input] : input;
    const stray = texts.findIndex((t) => typeof t !== 'string');
    if (stray >= 0)
      throw new InputError(
        `text ${stray} is not a string but ${describe(texts[stray])}; use encodeImage for images`,
      );
    const results = await this.#run(
      'encodeText',
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
      'encodeImage',
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
    return (await this.#run('encode', inputs.map(kindOf), options)) as EmbeddingOf<O>[];
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

  /**
   * Loads LoRAs from a PEFT folder, a URL, or whatever else `load` opens, onto the running model; calls that have begun go on
   * with the adapters that they began with. → the names of what was put on
   */
  async loadAdapter(
    source: string | URL | FileTree,
    { task, name, replace = false, signal }: LoadAdapterSource = {},
  ): Promise<readonly string[]> {
    if (this.#disposed) throw new InputError('this model was disposed; load it again');
    if (this.model.lost) await this.model.restore();
    const given = typeof source === 'object' && 'open' in source;
    const tree = given ? source : await this.#openTree(source, signal);
    const loaded: Adapter[] = [];
    try {
      const files = await chosenAdapters(tree, { task, name, signal });
      const there = (name: string) => this.model.adapters.get(name)?.lost === undefined;
      const taken = replace
        ? undefined
        : files.find(({ task: name }) => this.model.adapters.has(name) && there(name));
      if (taken) {
        throw new InputError(
          `an adapter named "${taken.task}" is already there; give another name, or replace: true to swap it`,
        );
      }
      for (const file of files) {
        const { residence } = this.device;
        const reload = async (): Promise<Adapter> => {
          const all = await chosenAdapters(tree, { task, name });
          const again = all.find((one) => one.task === file.task) ?? file;
          return loadAdapter(again, this.model.spec, { residence }).finally(() => given || tree.close());
        };
        loaded.push({ ...(await loadAdapter(file, this.model.spec, { residence, signal })), reload });
      }
      while (loaded.length > 0) {
        await this.model.placeAdapter(loaded[0], { replace, signal });
        loaded.shift(); // the model's from here on
      }
      return files.map((file) => file.task);
    } finally {
      for (const adapter of loaded) adapter.dispose();
      if (!given) await tree.close();
    }
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
    call: string,
    inputs: readonly ({ type: 'text'; text: string } | { type: 'image'; image: ImageInput })[],
    options: EncodeOptions,
  ): Promise<Embedding[]> {
    if (this.#disposed) throw new InputError('this model was disposed; load it again');
    if (inputs.length === 0) throw new InputError('nothing to embed: the list is empty');
    const settings = this.#settings(options);
    if (this.model.lost) await this.model.restore();
    const tasks = taskChoices(this, inputs.length, options.task, settings);
    const requests: Request[] = inputs.map((input, index) => ({ ...input, index, ...tasks[index] }));
    const together = sharesPasses(this.device);
    const limits = {
      passOf: passOf(this.model, together),
      batchSize: settings.batchSize ?? this.device.batchSize,
      tokenBudget: settings.tokenBudget,
    };
    const results = new Array<Embedding>(inputs.length);
    let done = 0;
    const end = this.model.hold();
    const { life } = this.model;
    try {
      for await (const batch of preparedBatches(this, requests, settings, options, limits)) {
        options.signal?.throwIfAborted();
        // Calls may overlap, batches may not: two at once would double the memory, and streamed blocks come in one order.
        const embedded = await this.model.inTurn(() => {
          if (this.model.life !== life) {
            throw new DeviceLostError(`${call}: the GPU device was lost while it ran; call again`);
          }
          const run = () =>
            runBatch(this.model, batch, {
              settings,
              returnMultivector: options.returnMultivector ?? false,
              together,
              signal: options.signal,
            });
          const { kernelVariant } = settings;
          return gpuCall(call, run, {
            half: this.device.precision === 'float16',
            prefer: kernelVariant === 'auto' ? null : kernelVariant,
          });
        });
        batch.forEach(({ request }, i) => {
          const { embedding, details } = embedded[i];
          this.#details.set(embedding, details);
          results[request.index] = embedding;
        });
        done += batch.length;
        options.onProgress?.(done, inputs.length);
      }
    } finally {
      end();
    }
    return results;
  }

  #settings(options: EncodeOptions): Settings {
    const { signal, onProgress, returnMultivector, specialTokens, task, ...rest } = options;
    const settings = this.config.with({ ...rest, ...(typeof task === 'string' ? { task } : {}) }).settings;
    checkSizes(this.model.config, settings.truncateDim);
    if (returnMultivector && typeof options.truncateDim === 'number') {
      throw new InputError(
        'truncateDim applies to single vectors; multi-vectors have one size. Leave one of the two options out',
      );
    }
    return settings;
  }
}

const describe = (value: unknown): string => (value === null ? 'null' : typeof value);
