import type * as tf from '@tensorflow/tfjs-core';
import { addToWeights } from './adapters/merge.ts';
import { type Adapter, withAdapters } from './adapters/with-adapters.ts';
import { InputError } from './errors.ts';
import { multiVectors } from './heads/heads.ts';
import { forward, type RunOptions, type Sequence, see } from './model.ts';
import type { ModelConfig } from './model-config.ts';
import { type ModelParams, type ModelSpec, modelSpec } from './params.ts';
import type { Images } from './vision/tower.ts';

/** Which adapters a pass runs with: none, one by name, or several that add up. */
export type AdapterChoice = null | string | readonly Adapter[];

/** The low-level model: parameters, the adapters that lie ready, and the forward pass. Ids and patches in, tensors out. */
export class EmbeddingModel {
  readonly config: ModelConfig;
  readonly spec: ModelSpec;
  readonly params: ModelParams;
  readonly #adapters = new Map<string, Adapter>();
  readonly #views = new Map<string, ModelParams>();
  readonly #release: () => void;
  #merged: string | null = null;

  /** Takes ownership of the parameters: `release` frees them at `dispose`. */
  constructor(config: ModelConfig, params: ModelParams, release: () => void) {
    this.config = config;
    this.spec = modelSpec(config);
    this.params = params;
    this.#release = release;
  }

  /** Adapters that lie ready, by name. */
  get adapters(): ReadonlyMap<string, Adapter> {
    return this.#adapters;
  }

  /** Puts an adapter beside the others and takes ownership of it. A name that is taken is an error. */
  addAdapter(adapter: Adapter): void {
    if (this.#adapters.has(adapter.name)) {
      throw new InputError(
        `an adapter named "${adapter.name}" is already there; delete it first, or choose another name`,
      );
    }
    this.#adapters.set(adapter.name, adapter);
    this.#views.set(adapter.name, withAdapters(this.params, adapter));
  }

  /** Removes an adapter and frees its tensors. */
  deleteAdapter(name: string): void {
    if (name === this.#merged)
      throw new InputError(`adapter "${name}" is merged; call unmergeAdapter() first`);
    this.adapter(name).dispose();
    this.#adapters.delete(name);
    this.#views.delete(name);
  }

  /** The adapter that is merged into the weights, if one is. */
  get merged(): string | null {
    return this.#merged;
  }

  /**
   * Adds an adapter to the weights themselves: its task then costs nothing extra, and no other can run until
   * `unmergeAdapter`. For float32 weights. Unmerging subtracts, which is exact to rounding (about 1e-7), not to the bit.
   */
  mergeAdapter(name: string): void {
    if (this.#merged !== null) {
      throw new InputError(`adapter "${this.#merged}" is merged already; call unmergeAdapter() first`);
    }
    addToWeights(this.params, this.adapter(name), 1);
    this.#merged = name;
  }

  unmergeAdapter(): void {
    if (this.#merged === null) throw new InputError('no adapter is merged');
    addToWeights(this.params, this.adapter(this.#merged), -1);
    this.#merged = null;
  }

  adapter(name: string): Adapter {
    const adapter = this.#adapters.get(name);
    if (adapter) return adapter;
    const names = [...this.#adapters.keys()];
    throw new InputError(
      `no adapter named "${name}"; ${names.length ? `there are ${names.join(', ')}` : 'this model has none'}`,
    );
  }

  /** The parameters as a pass with these adapters sees them. Shares every tensor. */
  view(choice: AdapterChoice): ModelParams {
    if (this.#merged !== null) {
      if (choice === this.#merged) return this.params;
      throw new InputError(
        `adapter "${this.#merged}" is merged into the weights; call unmergeAdapter() to run without it`,
      );
    }
    if (choice === null) return this.params;
    if (typeof choice !== 'string') return withAdapters(this.params, ...choice);
    this.adapter(choice);
    return this.#views.get(choice) as ModelParams;
  }

  /** Images → visual tokens [M, D], owned by the caller. No adapter touches them: one run serves every task. */
  see(images: Images, options?: RunOptions): Promise<tf.Tensor2D> {
    return see(this.params, this.config, images, options);
  }

  /** Packed sequences (and the visual tokens of their images) → hidden states [T, D], owned by the caller. */
  forward(
    sequences: readonly Sequence[],
    {
      seen = null,
      adapter = null,
      ...run
    }: { seen?: tf.Tensor2D | null; adapter?: AdapterChoice } & RunOptions = {},
  ): Promise<tf.Tensor2D> {
    return forward(this.view(adapter), this.config, sequences, seen, run);
  }

  /** Hidden states [T, D] → one unit vector a token [T, E], through the projector and its adapter. */
  multiVectors(hidden: tf.Tensor2D, adapter: AdapterChoice = null): tf.Tensor2D {
    return multiVectors(this.view(adapter).multiVectorProjector, hidden);
  }

  dispose(): void {
    for (const adapter of this.#adapters.values()) adapter.dispose();
    this.#adapters.clear();
    this.#views.clear();
    this.#release();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
