import type { EmbeddingModel } from '../embedding-model.ts';
import { InputError } from '../errors.ts';
import type { AdamWOptions } from './adamw.ts';
import { EpochSampler } from './epoch-sampler.ts';
import { batchOf, type Example, type ExampleSource, type LossChoice } from './examples.ts';
import { type LoraOptions, type LoraTrainable, loraVariables } from './lora-variables.ts';
import { warmupCosine } from './schedule.ts';
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
    readonly signal?: AbortSignal;
    readonly onStep?: (report: TrainReport) => void;
  };

/** A step's report, and how far the run is. */
export type TrainReport = StepReport & { readonly epoch: number; readonly updates: number };

/** The trained adapter is the caller's to add to the model, to save or to dispose; so is a trained model. */
export type Trained =
  | {
      readonly adapter: LoraTrainable['adapter'];
      readonly trainable: LoraTrainable;
      readonly last: TrainReport;
    }
  | { readonly model: EmbeddingModel; readonly trainable: WeightsTrainable; readonly last: TrainReport };

/**
 * Trains a LoRA on a frozen model (or a copy of all its weights) on pairs, triplets or scored pairs of texts and images.
 * An abort ends it between two updates with the signal's reason.
 */
export async function trainAdapter(
  model: EmbeddingModel,
  data: ExampleSource,
  options: TrainOptions = {},
): Promise<Trained> {
  const { epochs = 1, batchSize = 32, accumulate = 1, seed = 0 } = options;
  const sampler = new EpochSampler(data.length, batchSize, seed);
  const updates = Math.max(1, Math.floor((epochs * sampler.batchesAnEpoch) / accumulate));
  const trainable = options.allWeights ? await weightVariables(model) : loraVariables(model, options);
  const trainer = createTrainer({
    config: model.config,
    trainable,
    rate: warmupCosine({
      peak: options.rate ?? 2e-4,
      warmup: Math.min(updates - 1, Math.ceil((options.warmup ?? 0.05) * updates)),
      total: updates,
    }),
    optimizer: options.optimizer,
    clipNorm: options.clipNorm,
  });
  try {
    const last = await trainLoop(trainer, sampler, data, updates, options, accumulate);
    return 'adapter' in trainable
      ? { adapter: trainable.adapter, trainable, last }
      : { model: trainable.model, trainable, last };
  } catch (error) {
    trainable.dispose();
    throw error;
  } finally {
    trainer.dispose();
  }
}

async function trainLoop(
  trainer: Trainer,
  sampler: EpochSampler,
  data: ExampleSource,
  updates: number,
  options: TrainOptions,
  accumulate: number,
): Promise<TrainReport> {
  for (;;) {
    options.signal?.throwIfAborted();
    const batches = [];
    for (let i = 0; i < accumulate; i++) {
      const examples = await Promise.all(sampler.next().map((index) => exampleAt(data, index)));
      batches.push({ ...batchOf(examples, options), weight: 1 / accumulate });
    }
    const report = { ...(await trainer.step(batches)), epoch: sampler.state.epoch, updates };
    options.onStep?.(report);
    if (trainer.optimizer.updates >= updates) return report;
  }
}

async function exampleAt(data: ExampleSource, index: number): Promise<Example> {
  const example = await data.at(index);
  if (!example)
    throw new InputError(`there is no example ${index}, though the data says it has ${data.length}`);
  return example;
}
