import type * as tf from '@tensorflow/tfjs-core';
import { adapterAgain } from './adapters/adapter-again.ts';
import { AdapterShelf } from './adapters/adapter-shelf.ts';
import { byInput, canShare } from './adapters/by-input.ts';
import type { AdapterChoice, PassAdapters, ResolvedChoice } from './adapters/choice.ts';
import { measureDora, unmeasured } from './adapters/measure-dora.ts';
import { type Merge, mergeAdapter } from './adapters/merge.ts';
import { type Adapter, modulesOf, withAdapters } from './adapters/with-adapters.ts';
import { gpuCall, gpuGone, gpuLife } from './device-call.ts';
import { trimBufferPool } from './device-webgpu.ts';
import { DeviceLostError, InputError } from './errors.ts';
import { multiVectors } from './heads/heads.ts';
import { Held } from './held.ts';
import { forward, type RunOptions, type Sequence, see } from './model.ts';
import type { ModelConfig } from './model-config.ts';
import { type ModelParams, type ModelSpec, modelSpec } from './params.ts';
import { Turns } from './turns.ts';
import type { Images } from './vision/tower.ts';

export type PlaceOptions = {
  /** Take the place of the adapter of this name, if there is one. Default: a name that is taken is an error. */
  readonly replace?: boolean;
  readonly signal?: AbortSignal;
};

export type MergeOptions = { readonly onNotice?: (text: string) => void };

/** Where the weights came from: reads them again when the GPU that held them is gone. */
export type WeightSource = {
  /** What they were quantised to before; null for weights as they were trained. */
  readonly quantized: string | null;
  /** Starts the device again, and loads. */
  reload(): Promise<{ readonly params: ModelParams; dispose(): void }>;
  close(): void;
};

/** Whoever sets it looks for errors of the GPU at the end of all that it runs (`gpuCall`). Default: every pass does. */
export type Guard = { readonly guarded?: boolean };

/** The low-level model: parameters, the adapters that lie ready, and the forward pass. Ids and patches in, tensors out. */
export class EmbeddingModel {
  readonly config: ModelConfig;
  readonly spec: ModelSpec;
  readonly #shelf = new AdapterShelf(() => this.merged);
  readonly #turns = new Turns();
  readonly #source: WeightSource | null;
  #params: ModelParams;
  #release: () => void;
  #life = gpuLife();
  #merge: Merge<ModelParams> | null = null;

  /** Takes ownership of the parameters: `release` frees them at `dispose`. With a source they survive the loss of a GPU. */
  constructor(
    config: ModelConfig,
    params: ModelParams,
    release: () => void,
    source: WeightSource | null = null,
  ) {
    this.config = config;
    this.spec = modelSpec(config);
    this.#params = params;
    this.#release = release;
    this.#source = source;
  }

  /** The parameters, without adapters. Others after `restore`. */
  get params(): ModelParams {
    return this.#params;
  }

  /** Which GPU device holds the weights: another number after each that was lost. Null without one. */
  get life(): number | null {
    return this.#life;
  }

  /** Whether the GPU that held the weights is gone. Passes then fail with DeviceLostError until `restore`. */
  get lost(): boolean {
    return gpuGone(this.#life);
  }

  /**
   * After the loss of a GPU: takes a new device and reads the weights and adapters again from where they came from; otherwise
   * it does nothing. An adapter that was made in memory keeps its name and place and cannot run until it is added again.
   * @throws DeviceError where there is no device any more; DeviceLostError for a model without a source
   */
  restore(): Promise<void> {
    return this.inTurn(async () => {
      if (!this.lost) return;
      if (!this.#source) {
        throw new DeviceLostError(
          'the GPU device that held this model was lost, and nobody knows its source; make it again',
        );
      }
      const life = gpuLife();
      const held = new Held();
      try {
        const { params, dispose } = held.keep(await this.#source.reload());
        const adapters: Adapter[] = [];
        for (const adapter of this.adapters.values())
          adapters.push(held.keep(await adapterAgain(adapter, params)));
        const merged = adapters.find(({ name, lost }) => name === this.merged && lost === undefined);
        const merge = merged ? await gpuCall('restore', () => mergeAdapter(params, merged)) : null;
        this.#freeWeights();
        this.#shelf.restock(adapters);
        this.#params = params;
        this.#release = dispose;
        this.#merge = merge;
        this.#life = life;
      } catch (error) {
        held.dispose();
        throw error;
      }
    });
  }

  /** Adapters that lie ready, by name. */
  get adapters(): ReadonlyMap<string, Adapter> {
    return this.#shelf.all;
  }

  /** Puts an adapter beside the others and takes ownership of it. A name that is taken is an error, as is a DoRA not measured. */
  addAdapter(adapter: Adapter): void {
    this.#shelf.add(adapter);
  }

  /** Puts an adapter in the place of the one of its name, which is freed once no call runs with it. */
  replaceAdapter(adapter: Adapter): void {
    this.#shelf.replace(adapter);
  }

  /**
   * Measures what a DoRA needs to know of the weights (others need nothing), and adds it, or replaces one. On failure the
   * adapter stays with the caller.
   */
  placeAdapter(adapter: Adapter, { replace = false, signal }: PlaceOptions = {}): Promise<void> {
    return this.#alone('placeAdapter', async () => {
      if (this.#merge !== null && unmeasured(adapter).size > 0) {
        throw new InputError(
          `"${adapter.name}" is a DoRA and is measured on the plain weights, but "${this.merged}" is merged into them; ` +
            'call unmergeAdapter() first',
        );
      }
      if (!replace) this.#shelf.checkFree(adapter.name);
      const { adapter: ready, forget } = await measureDora(adapter, this.params, signal);
      try {
        const old = this.adapters.get(adapter.name);
        if (replace && old && old.lost === undefined) this.replaceAdapter(ready);
        else this.addAdapter(ready);
      } catch (error) {
        forget();
        throw error;
      }
    });
  }

  /** Gives an adapter another name. It keeps its place and its state. */
  renameAdapter(from: string, to: string): void {
    this.#shelf.rename(from, to);
  }

  /** Removes an adapter; its tensors are freed once no call runs with it. */
  deleteAdapter(name: string): void {
    this.#shelf.delete(name);
  }

  /**
   * Switches an adapter off: it stays in memory and adds nothing, alone or in a mix, until `enableAdapter`. Embeddings say
   * so: the adapter in their details is the one that ran.
   */
  disableAdapter(name: string): void {
    this.#shelf.disable(name);
  }

  enableAdapter(name: string): void {
    this.#shelf.enable(name);
  }

  isEnabled(name: string): boolean {
    return this.#shelf.isEnabled(name);
  }

  /** The adapter that is merged into the weights, if one is. */
  get merged(): string | null {
    return this.#merge?.name ?? null;
  }

  /**
   * Adds an adapter to the weights themselves: its task then costs nothing extra, and no other can run until
   * `unmergeAdapter`. For float32 weights. Every map is compared with what it gave before; see `adapters/merge.ts`.
   * `onNotice` is told where the weights had been quantised (default: `console.warn`).
   */
  mergeAdapter(name: string, { onNotice = console.warn }: MergeOptions = {}): Promise<void> {
    const merged = this.#alone('mergeAdapter', async () => {
      if (this.#merge !== null) {
        throw new InputError(`adapter "${this.merged}" is merged already; call unmergeAdapter() first`);
      }
      const adapter = this.adapter(name);
      if (!this.isEnabled(name)) throw new InputError(`adapter "${name}" is disabled; enable it first`);
      this.#merge = await mergeAdapter(this.params, adapter);
    });
    const quantized = this.#source?.quantized;
    if (!quantized) return merged;
    return merged.then(() =>
      onNotice(
        `adapter "${name}" is merged into weights that had been quantised to ${quantized}: what that rounded away stays away; ` +
          'merge into the checkpoint that they were made from where it counts',
      ),
    );
  }

  /**
   * Takes the merged adapter out again. Exact to rounding (about 1e-7), not to the bit; → the largest error found, as a part
   * of the largest value. @throws CheckpointError where the weights did not come back
   */
  unmergeAdapter(): Promise<number> {
    return this.#alone('unmergeAdapter', async () => {
      const merge = this.#merge;
      if (merge === null) throw new InputError('no adapter is merged');
      this.#merge = null;
      return merge.undo();
    });
  }

  /** @throws InputError for a name that is not there */
  adapter(name: string): Adapter {
    return this.#shelf.find(name);
  }

  /** The adapters behind a name or a mix, as they are now. @throws InputError for a name that is not there */
  resolve(choice: string | null): ResolvedChoice {
    return this.#shelf.resolve(choice);
  }

  /** The parameters as a pass with these adapters sees them. Shares every tensor. */
  view(choice: AdapterChoice): ModelParams {
    const adapters = this.#shelf.adaptersOf(choice);
    if (this.#merge !== null) {
      if (adapters.length === 1 && adapters[0] === this.adapters.get(this.#merge.name))
        return this.#merge.params;
      throw new InputError(
        `adapter "${this.merged}" is merged into the weights; call unmergeAdapter() to run without it`,
      );
    }
    return adapters.length === 0 ? this.params : withAdapters(this.params, ...adapters);
  }

  /** Images → visual tokens [M, D], owned by the caller. Where no adapter `touchesVision`, one run serves every task. */
  see(
    images: Images,
    { adapter = null, guarded, ...run }: { adapter?: AdapterChoice } & RunOptions & Guard = {},
  ): Promise<tf.Tensor2D> {
    return this.#running('see', guarded, () => {
      // A merged adapter is in the tower's weights, whatever was chosen: `forward` judges the choice.
      const params = this.#merge?.params ?? this.view(adapter);
      return see(params, this.config, images, run);
    });
  }

  /** Whether an adapter of the choice sits on the vision tower: then images must be seen with it. The published ones do not. */
  touchesVision(choice: AdapterChoice): boolean {
    return this.#shelf
      .adaptersOf(choice)
      .flatMap(modulesOf)
      .some((module) => module.startsWith('visual.'));
  }

  /**
   * Packed sequences (and the visual tokens of their images) → hidden states [T, D], owned by the caller.
   * `adapters`: those of each sequence, in one pass all the same.
   */
  forward(
    sequences: readonly Sequence[],
    options: { seen?: tf.Tensor2D | null } & PassAdapters & RunOptions & Guard = {},
  ): Promise<tf.Tensor2D> {
    const { seen = null, adapter = null, adapters, guarded, ...run } = options;
    return this.#running('forward', guarded, () => {
      const choice = adapters ? this.byInput(adapters, sequences) : adapter;
      return forward(this.view(choice), this.config, sequences, seen, run);
    });
  }

  /** Whether inputs with this choice can go through the decoder together with others (`byInput`). */
  canShare(choice: AdapterChoice): boolean {
    return this.#merge === null && this.#shelf.adaptersOf(choice).every(canShare);
  }

  /**
   * The choice of a pass whose sequences each have their own, for `multiVectors`, too: each adapter is for its rows alone.
   * @throws InputError for an adapter that replaces parts or changes the token table, which is there for all rows
   */
  byInput(choices: readonly AdapterChoice[], sequences: readonly Sequence[]): readonly Adapter[] {
    const own = choices.map((choice) => this.#shelf.adaptersOf(choice));
    return byInput(own, sequences);
  }

  /** Hidden states [T, D] → one unit vector a token [T, E], through the projector and its adapter. */
  multiVectors(hidden: tf.Tensor2D, adapter: AdapterChoice = null): tf.Tensor2D {
    return multiVectors(this.view(adapter).multiVectorProjector, hidden);
  }

  /** A call of several passes begins: adapters that are there now are not freed before it ends. → what ends it */
  hold(): () => void {
    return this.#shelf.hold();
  }

  /** Runs when everything that was asked for before has ended: merging, measuring and batches do not overlap. */
  inTurn<T>(run: () => T | Promise<T>): Promise<T> {
    return this.#turns.take(run);
  }

  dispose(): void {
    this.#freeWeights();
    this.#shelf.dispose();
    trimBufferPool(); // the weights' buffers are free now, and nobody will ask for their sizes
    this.#source?.close();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /** A pass: adapters stay while it runs, and errors of the GPU are its own. */
  async #running(what: string, guarded = false, run: () => Promise<tf.Tensor2D>): Promise<tf.Tensor2D> {
    const end = this.hold();
    let result: tf.Tensor2D | null = null;
    try {
      this.#checkDevice(what);
      if (guarded) return await run();
      await gpuCall(what, async () => {
        result = await run();
      });
      return result as unknown as tf.Tensor2D;
    } catch (error) {
      (result as tf.Tensor2D | null)?.dispose();
      throw error;
    } finally {
      end();
    }
  }

  /** A change of what the model holds. */
  #alone<T>(what: string, run: () => Promise<T>): Promise<T> {
    return this.inTurn(() => {
      this.#checkDevice(what);
      return gpuCall(what, run);
    });
  }

  #checkDevice(what: string): void {
    if (!this.lost) return;
    throw new DeviceLostError(
      `${what}: the GPU device that held this model was lost; call again, or await model.restore() first`,
    );
  }

  #freeWeights(): void {
    this.#merge?.dispose();
    this.#merge = null;
    this.#release();
  }
}
