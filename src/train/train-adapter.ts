import type { EmbeddingModel } from '../embedding-model.ts';
import { InputError } from '../errors.ts';
import type { AdamWOptions } from './adamw.ts';
import { drawBatch } from './draw-batch.ts';
import { EpochSampler, type SamplerState } from './epoch-sampler.ts';
import { batchOf, type Example, type ExampleSource, type LossChoice, lossOf } from './examples.ts';
import type { TrainBatch } from './gradients.ts';
import { type LoraOptions, type LoraTrainable, loraVariables } from './lora-variables.ts';
import { checkLessons } from './nothing-to-learn.ts';
import { encodeRun, restoreRun } from './run-state.ts';
import { type Schedule, warmupCosine } from './schedule.ts';
import { createTrainer, type StepReport, type Trainer } from './trainer.ts';
import { type WeightsTrainable, weightVariables } from './weight-variables.ts';

export type TrainOptions = LoraOptions &
  LossChoice & {
    /** Train a copy of all weights instead of a LoRA. For small models. */
    readonly allWeights?: boolean;
    /** Default 1. */
    readonly epochs?: number;
    /** Examples a batch: in-batch negatives come from it. Default 32. */
    readonly batchSize?: number;
    /** Batches an update; their gradients are averaged. Default 1. */
    readonly accumulate?: number;
    /** Peak learning rate. Default 2e-4. */
    readonly rate?: number;
    /** Part of all updates in which the rate rises. Default 0.05. */
    readonly warmup?: number;
    readonly clipNorm?: number;
    readonly optimizer?: AdamWOptions;
    /** Keep only the input of each block and run it again on the way back. */
    readonly recompute?: boolean;
    /** Inputs that run at once; larger batches go through in parts with the same gradient. */
    readonly chunk?: number;
    readonly signal?: AbortSignal;
    readonly onStep?: (report: TrainReport) => void | Promise<void>;
    /** Called with the run's state every so many updates (default 100), and when it stops before its end. */
    readonly keep?: (state: Uint8Array, update: number) => Promise<void>;
    readonly keepEvery?: number;
    /** A state that `keep` was given: the run goes on as if it had never stopped. */
    readonly resume?: Uint8Array;
  };

/** A step's report, and how far the run is. */
export type TrainReport = StepReport & {
  readonly epoch: number;
  readonly updates: number;
  /** Batches that were dropped before this update because they taught nothing: pairs that happen to have equal scores. */
  readonly dropped: number;
};

/** The adapter is the caller's to add to a model, to save or to dispose. */
export type TrainedAdapter = {
  readonly adapter: LoraTrainable['adapter'];
  readonly trainable: LoraTrainable;
  readonly last: TrainReport;
};

/** The model is the caller's to use and to dispose. */
export type TrainedModel = {
  readonly model: EmbeddingModel;
  readonly trainable: WeightsTrainable;
  readonly last: TrainReport;
};

/**
 * Trains a LoRA on a frozen model (or a copy of all its weights) on pairs, triplets or scored pairs of texts and images, or
 * on what a teacher says of them.
 * An abort ends it between two updates with the signal's reason. However it stops, `keep` gets the state before the
 * update that was not made.
 * @throws InputError for examples that fit no loss or teach nothing, a loss that is not finite, or words of a LoRA beside
 * `allWeights`
 */
export function trainAdapter(
  model: EmbeddingModel,
  data: ExampleSource,
  options: TrainOptions & { readonly allWeights: true },
): Promise<TrainedModel>;
export function trainAdapter(
  model: EmbeddingModel,
  data: ExampleSource,
  options?: TrainOptions & { readonly allWeights?: false },
): Promise<TrainedAdapter>;
export async function trainAdapter(
  model: EmbeddingModel,
  data: ExampleSource,
  options: TrainOptions = {},
): Promise<TrainedAdapter | TrainedModel> {
  const { epochs = 1, batchSize = 32, accumulate = 1, seed = 0 } = options;
  const sampler = new EpochSampler(data.length, batchSize, seed);
  const lessons = data.records ?? (Array.isArray(data) ? (data as readonly Example[]) : null);
  if (lessons) checkLessons(lessons, lossOf(lessons, options), batchSize);
  const updates = Math.max(1, Math.floor((epochs * sampler.batchesAnEpoch) / accumulate));
  if (options.allWeights) checkNoLora(options);
  const trainable = options.allWeights ? await weightVariables(model) : loraVariables(model, options);
  let trainer: Trainer | null = null;
  try {
    trainer = createTrainer({
      ...options,
      config: model.config,
      trainable,
      rate: scheduleOf(options, updates),
    });
    const shape = { examples: data.length, batchSize, accumulate, updates };
    if (options.resume) await resumeRun(trainer, sampler, options.resume, shape);
    const last = await trainLoop({ trainer, sampler, data, shape }, options);
    return 'adapter' in trainable
      ? { adapter: trainable.adapter, trainable, last }
      : { model: trainable.model, trainable, last };
  } catch (error) {
    trainable.dispose();
    throw error;
  } finally {
    trainer?.dispose();
  }
}

const LORA_WORDS = ['name', 'rank', 'alpha', 'rslora', 'dora', 'targets'] as const;

function checkNoLora(options: TrainOptions): void {
  const said = LORA_WORDS.filter((word) => options[word] !== undefined && options[word] !== false);
  if (said.length === 0) return;
  throw new InputError(
    `allWeights trains the weights themselves, and ${said.join(', ')} speaks of a LoRA; leave one out`,
  );
}

const scheduleOf = ({ rate = 2e-4, warmup = 0.05 }: TrainOptions, updates: number): Schedule =>
  warmupCosine({ peak: rate, warmup: Math.min(updates - 1, Math.ceil(warmup * updates)), total: updates });

/** What must be the same for a run to go on. */
type Shape = {
  readonly examples: number;
  readonly batchSize: number;
  readonly accumulate: number;
  readonly updates: number;
};

type Training = {
  readonly trainer: Trainer;
  readonly sampler: EpochSampler;
  readonly data: ExampleSource;
  readonly shape: Shape;
};

async function resumeRun(
  trainer: Trainer,
  sampler: EpochSampler,
  state: Uint8Array,
  shape: Shape,
): Promise<void> {
  const kept = (await restoreRun(trainer, state)) as { sampler: SamplerState; shape: Shape };
  const other = (Object.keys(shape) as (keyof Shape)[]).filter((key) => kept.shape[key] !== shape[key]);
  if (other.length > 0) {
    throw new InputError(
      `the saved run had ${other.map((key) => `${kept.shape[key]} ${key}`).join(', ')}, this one ` +
        `${other.map((key) => `${shape[key]} ${key}`).join(', ')}; go on with what it began with, or begin anew`,
    );
  }
  sampler.state = kept.sampler;
}

async function trainLoop(
  { trainer, sampler, data, shape }: Training,
  options: TrainOptions,
): Promise<TrainReport> {
  const { accumulate, updates } = shape;
  const { keep, keepEvery = 100 } = options;
  let before = sampler.state;
  const save = () => encodeRun(trainer, { sampler: before, shape });
  let report: TrainReport | null = null;
  try {
    while (trainer.optimizer.updates < updates) {
      options.signal?.throwIfAborted();
      const batches: TrainBatch[] = [];
      let dropped = 0;
      for (let i = 0; i < accumulate; i++) {
        const { examples, ...drawn } = await drawBatch(sampler, data, options);
        dropped += drawn.dropped;
        batches.push({ ...batchOf(examples, options), weight: 1 / accumulate, from: examples });
      }
      report = { ...(await trainer.step(batches)), epoch: sampler.state.epoch, updates, dropped };
      before = sampler.state;
      await options.onStep?.(report);
      const { updates: done } = trainer.optimizer;
      if (keep && done % keepEvery === 0 && done < updates) await keep(await save(), done);
    }
  } catch (error) {
    if (trainer.optimizer.updates > 0) await keep?.(await save(), trainer.optimizer.updates);
    throw error;
  }
  if (!report) throw new InputError('the saved run was at its end: there is nothing left to train');
  return report;
}
