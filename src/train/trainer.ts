import * as tf from '@tensorflow/tfjs-core';
import { registerGradients } from '../../kernels/index.ts';
import { gpuCall } from '../device-call.ts';
import { InputError } from '../errors.ts';
import { placesOf } from '../evaluate/places.ts';
import type { ModelConfig } from '../model-config.ts';
import { AdamW, type AdamWOptions, globalNorm } from './adamw.ts';
import { keepAll } from './block-runner.ts';
import { cachedGradients } from './cached-gradients.ts';
import type { LossAndGradients, TrainBatch } from './gradients.ts';
import { recomputeBlocks } from './recompute-blocks.ts';
import { constantRate, type Schedule } from './schedule.ts';
import type { Trainable } from './variables.ts';

export type TrainerOptions = {
  /** Of the model that is trained: geometry and token ids. */
  readonly config: ModelConfig;
  readonly trainable: Trainable;
  /** Learning rate, fixed or by update (see `warmupCosine`). */
  readonly rate: number | Schedule;
  readonly optimizer?: AdamWOptions;
  /** Gradients are scaled down to this global norm. Default 1; Infinity: never. */
  readonly clipNorm?: number;
  /** Keep only the input of each block and run it again on the way back: less memory, a third more time. */
  readonly recompute?: boolean;
  /** Inputs that run at once; a larger batch goes through in parts with the same gradient (GradCache). Default: all. */
  readonly chunk?: number;
};

/** What one update did. `losses`: of each batch, unweighted; `norm`: of the gradient before clipping. */
export type StepReport = {
  readonly update: number;
  readonly loss: number;
  readonly losses: readonly number[];
  readonly norm: number;
  readonly rate: number;
};

export type Trainer = {
  readonly trainable: Trainable;
  readonly optimizer: AdamW;
  /**
   * One update from one batch, or from several whose weighted gradients add up: a mix of losses, or accumulation.
   * @throws InputError where the loss or a gradient is not finite; nothing is changed then
   */
  step(batches: TrainBatch | readonly TrainBatch[]): Promise<StepReport>;
  /** The loss of a batch as it is now, without learning from it. */
  loss(batch: TrainBatch): Promise<number>;
  /** Frees the optimizer's moments. The trainable stays its owner's. */
  dispose(): void;
};

/** The inner loop of training: batches of tokenised texts and patches in, updated variables out. */
export function createTrainer({
  config,
  trainable,
  rate,
  optimizer: optimizerOptions,
  clipNorm = 1,
  recompute = false,
  chunk = Number.POSITIVE_INFINITY,
}: TrainerOptions): Trainer {
  registerGradients();
  const optimizer = new AdamW(trainable.variables, optimizerOptions);
  const schedule = typeof rate === 'number' ? constantRate(rate) : rate;
  const gradientOptions = { config, trainable, runBlock: recompute ? recomputeBlocks : keepAll };
  const gradientsOfBatch = (batch: TrainBatch) => cachedGradients(batch, gradientOptions, chunk);

  return {
    trainable,
    optimizer,
    step: async (given) => {
      const batches = 'sides' in given ? [given] : given;
      const sum = new GradientSum();
      try {
        const losses: number[] = [];
        for (const batch of batches)
          losses.push(
            await gpuCall('step', async () => sum.add(await gradientsOfBatch(batch), batch.weight ?? 1)),
          );
        const norm = await gpuCall('step', () => sum.norm());
        const loss = losses.reduce((total, l, i) => total + l * (batches[i].weight ?? 1), 0);
        const update = optimizer.updates;
        checkFinite({ loss, losses, norm, update }, batches);
        const now = schedule(update);
        sum.apply(optimizer, now, norm > clipNorm ? clipNorm / norm : 1);
        trainable.changed?.();
        return { update, loss, losses, norm, rate: now };
      } finally {
        sum.dispose();
      }
    },
    loss: (batch) =>
      gpuCall('loss', async () => {
        const { loss, gradients } = await gradientsOfBatch(batch);
        const [value] = await loss.data();
        tf.dispose([loss, ...gradients.values()]);
        return value;
      }),
    dispose: () => optimizer.dispose(),
  };
}

/** Gradients of several batches on their way to one update. */
class GradientSum {
  #sum = new Map<string, tf.Tensor>();

  /** Takes the tensors over. → the loss, unweighted */
  async add({ loss, gradients }: LossAndGradients, weight: number): Promise<number> {
    for (const [name, gradient] of gradients) {
      const before = this.#sum.get(name);
      if (!before && weight === 1) {
        this.#sum.set(name, gradient);
        continue;
      }
      this.#sum.set(
        name,
        tf.tidy(() => {
          const weighed = weight === 1 ? gradient : tf.mul(gradient, weight);
          return before ? tf.add(before, weighed) : weighed;
        }),
      );
      before?.dispose();
      gradient.dispose();
    }
    const [value] = await loss.data();
    loss.dispose();
    return value;
  }

  async norm(): Promise<number> {
    if (this.#sum.size === 0) return 0;
    const norm = globalNorm(this.#sum.values());
    const [value] = await norm.data();
    norm.dispose();
    return value;
  }

  apply(optimizer: AdamW, rate: number, factor: number): void {
    optimizer.update(this.#sum, rate, factor);
  }

  dispose(): void {
    tf.dispose([...this.#sum.values()]);
    this.#sum.clear();
  }
}

function checkFinite(
  { loss, losses, norm, update }: Omit<StepReport, 'rate'>,
  batches: readonly TrainBatch[],
): void {
  if (Number.isFinite(loss) && Number.isFinite(norm)) return;
  const odd = batches.filter((_, i) => !Number.isFinite(losses[i]));
  const places = placesOf((odd.length > 0 ? odd : batches).flatMap(({ from }) => from ?? []));
  throw new InputError(
    `update ${update}: the loss is ${loss} and the gradient's norm ${norm}; the weights are as they were before it. ` +
      `Lower the learning rate, warm up longer, or look for broken examples in this batch${places && ` (${places})`}`,
  );
}
