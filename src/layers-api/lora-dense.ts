import * as tf from '@tensorflow/tfjs-core';
import { type LayerVariable, layers } from '@tensorflow/tfjs-layers';
import { float32Matrix, type LoraActivation, linear } from '../../kernels/index.ts';
import { InputError } from '../errors.ts';
import { type Initializer, initializerOf, type SavedInitializer, saved, startAt } from './initializer.ts';
import { type Shape, withLast } from './layer-kind.ts';
import type { StockArgs } from './model-layer.ts';

type Activation = NonNullable<Parameters<typeof layers.activation>[0]>['activation'];

export type LoraDenseArgs = StockArgs & {
  readonly units: number;
  readonly rank: number;
  /** The low-rank term counts `alpha / rank`. Default: the rank, so that it counts 1. */
  readonly alpha?: number;
  /** Rank-stabilised: it counts `alpha / √rank` instead. Default false. (Kalajdzievski 2023) */
  readonly rslora?: boolean;
  /** Of the result, by its name in tfjs-layers. Default `linear`. */
  readonly activation?: Activation;
  /** Between A and B. Default `none`, which is LoRA as published. */
  readonly loraActivation?: LoraActivation;
  /** Default true. The bias is frozen, as the kernel is, unless `trainBias`. */
  readonly useBias?: boolean;
  readonly trainBias?: boolean;
  /** How the frozen kernel begins. Default `glorotUniform`. */
  readonly kernelInitializer?: SavedInitializer | Initializer;
  readonly biasInitializer?: SavedInitializer | Initializer;
  /** Trained values to begin with instead: [in, units] and [units]. They are copied, and not saved in the configuration. */
  readonly kernel?: tf.Tensor2D;
  readonly bias?: tf.Tensor1D;
};

// PEFT begins A as torch's nn.Linear does (Kaiming with a = √5): uniform within ±1/√in. B begins as zeros: no effect yet.
const LORA_A: SavedInitializer = {
  className: 'varianceScaling',
  config: { scale: 1 / 3, mode: 'fanIn', distribution: 'uniform' },
};

/**
 * A dense layer whose kernel is frozen and learns through a low-rank term: act(x W + b + scale · (x A) B).
 * `trainable` switches A and B (and the bias with `trainBias`); the kernel never trains. [..., in] → [..., units]
 * (Hu et al. 2021)
 */
export class LoraDense extends layers.Layer {
  static className = 'JinaLoraDense';
  readonly scale: number;
  readonly #args: Required<Omit<LoraDenseArgs, keyof StockArgs | 'kernel' | 'bias'>>;
  readonly #activation: layers.Layer;
  #start: Pick<LoraDenseArgs, 'kernel' | 'bias'>;
  #weights: Readonly<Record<'kernel' | 'a' | 'b', LayerVariable>> | null = null;
  #bias: LayerVariable | null = null;

  constructor(args: LoraDenseArgs) {
    const {
      units,
      rank,
      alpha = rank,
      rslora = false,
      activation = 'linear',
      loraActivation = 'none',
      useBias = true,
      trainBias = false,
      kernelInitializer = 'glorotUniform',
      biasInitializer = 'zeros',
      kernel,
      bias,
      ...stock
    } = args;
    super(stock);
    for (const [name, value] of Object.entries({ units, rank }))
      if (!Number.isInteger(value) || value < 1)
        throw new InputError(`LoraDense: ${name} must be a whole number, 1 or more, got ${value}`);
    this.#args = {
      units,
      rank,
      alpha,
      rslora,
      activation,
      loraActivation,
      useBias,
      trainBias,
      kernelInitializer,
      biasInitializer,
    };
    this.scale = alpha / (rslora ? Math.sqrt(rank) : rank);
    this.#activation = layers.activation({ activation });
    this.#start = { kernel, bias };
  }

  override build(inputShape: Parameters<layers.Layer['build']>[0]): void {
    const shape = inputShape as Shape;
    const inSize = shape[shape.length - 1];
    if (shape.length < 2 || inSize === null)
      throw new InputError(`${this.name} takes […, width] with a known width, got [${shape.join(', ')}]`);
    const { units, rank, useBias, trainBias, kernelInitializer, biasInitializer } = this.#args;
    const { kernel, bias } = this.#start;
    const add = (name: string, dims: number[], start: SavedInitializer | Initializer, trainable: boolean) =>
      this.addWeight(name, dims, 'float32', initializerOf(start), undefined, trainable);
    this.#weights = {
      kernel: add('kernel', [inSize, units], kernel ? startAt(kernel) : kernelInitializer, false),
      a: add('loraA', [inSize, rank], LORA_A, true),
      b: add('loraB', [rank, units], 'zeros', true),
    };
    if (useBias) this.#bias = add('bias', [units], bias ? startAt(bias) : biasInitializer, trainBias);
    this.#start = {};
    this.built = true;
  }

  override call(
    inputs: tf.Tensor | tf.Tensor[],
    kwargs: Parameters<layers.Layer['call']>[1] = {},
  ): tf.Tensor {
    return tf.tidy(this.name, () => {
      const x = Array.isArray(inputs) ? inputs[0] : inputs;
      const { kernel, a, b } = this.#read();
      const y = linear({
        x: tf.reshape(x, [-1, kernel.shape[0]]),
        weight: float32Matrix(kernel),
        bias: this.#bias && (this.#bias.read() as tf.Tensor1D),
        lora: [
          {
            a: float32Matrix(a),
            b: float32Matrix(b),
            scale: this.scale,
            activation: this.#args.loraActivation,
          },
        ],
      }); //                                                                             [T, units]
      const shaped = tf.reshape(y, withLast(x.shape, this.#args.units) as number[]);
      return this.#activation.call(shaped, kwargs) as tf.Tensor;
    });
  }

  /**
   * W + scale · A B, which a stock dense layer of the same bias and activation can take over.   → [in, units], the caller's
   * @throws InputError where a `loraActivation` stands between A and B: no one matrix does that
   */
  mergedKernel(): tf.Tensor2D {
    if (this.#args.loraActivation !== 'none')
      throw new InputError(
        `${this.name}: with loraActivation "${this.#args.loraActivation}" A and B do not merge`,
      );
    return tf.tidy(() => {
      const { kernel, a, b } = this.#read();
      return tf.add(kernel, tf.mul(tf.matMul(a, b), this.scale));
    });
  }

  override computeOutputShape(inputShape: Parameters<layers.Layer['computeOutputShape']>[0]) {
    return [...withLast(inputShape as Shape, this.#args.units)];
  }

  override getConfig(): tf.serialization.ConfigDict {
    const { kernelInitializer, biasInitializer, ...plain } = this.#args;
    return {
      ...super.getConfig(),
      ...plain,
      kernelInitializer: saved(kernelInitializer) as tf.serialization.ConfigDictValue,
      biasInitializer: saved(biasInitializer) as tf.serialization.ConfigDictValue,
    };
  }

  #read() {
    if (!this.#weights)
      throw new InputError(`${this.name} has no weights yet; call it, or put it into a model, first`);
    const { kernel, a, b } = this.#weights;
    const read = (v: LayerVariable) => v.read() as tf.Tensor2D;
    return { kernel: read(kernel), a: read(a), b: read(b) };
  }
}

tf.serialization.registerClass(LoraDense);
