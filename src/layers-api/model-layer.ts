import * as tf from '@tensorflow/tfjs-core';
import { type LayerVariable, layers } from '@tensorflow/tfjs-layers';
import { float32Matrix } from '../../kernels/index.ts';
import { InputError } from '../errors.ts';
import type { Linear } from '../layers/linear.ts';
import type { LeafSpec } from '../layers/spec.ts';
import { isLeafSpec } from '../params.ts';
import { type Initializer, initializerOf, type SavedInitializer, saved, startAt } from './initializer.ts';
import { layerKind, type Shape } from './layer-kind.ts';

/** What every stock layer takes, too: `name`, `trainable`, `inputShape`, … */
export type StockArgs = NonNullable<ConstructorParameters<typeof layers.Layer>[0]>;

export type ModelLayerArgs = StockArgs & {
  /** Which layer of the model, e.g. `decoderBlock`. */
  readonly kind: string;
  /** The options of that kind: plain data. */
  readonly options: unknown;
  /** Parts that never train, by their place in the tree: `selfAttn`, or `mlp.gateProj.bias`. */
  readonly frozen?: readonly string[];
  /** How matrices and tables begin. Default `glorotUniform`; biases begin as zeros, norms as ones. */
  readonly kernelInitializer?: SavedInitializer | Initializer;
  /** Parameters to begin with, as the model has them (`model.params.model.layers.take(0)`). They are copied, and not saved. */
  readonly params?: unknown;
};

/**
 * Any layer of the model inside a stock `tf.model` or `tf.sequential`: its weights are the stock layer's, its arithmetic is the
 * model's. Saves and loads with the model it is in. `trainable: false` freezes all of it, `frozen` some.
 */
export class ModelLayer extends layers.Layer {
  static className = 'JinaModelLayer'; // the stock world's names are global
  readonly kind: string;
  readonly options: unknown;
  readonly frozen: readonly string[];
  readonly #kernelInitializer: SavedInitializer | Initializer;
  readonly #variables = new Map<string, LayerVariable>();
  #given: unknown;
  #spec: unknown = null;

  constructor(args: ModelLayerArgs) {
    const { kind, options, frozen = [], kernelInitializer = 'glorotUniform', params, ...stock } = args;
    super(stock);
    layerKind(kind); // unknown: told now, not at the first batch
    this.kind = kind;
    this.options = options;
    this.frozen = frozen;
    this.#kernelInitializer = kernelInitializer;
    this.#given = params;
  }

  override build(inputShape: Parameters<layers.Layer['build']>[0]): void {
    const shape = inputShape as Shape;
    const { input, spec } = layerKind(this.kind);
    const width = input === 'ids' ? 1 : this.#widthOf(shape);
    this.#spec = spec(this.options, width);
    this.#make(this.#spec, this.#given, '');
    const stray = this.frozen.find((place) => ![...this.#variables.keys()].some((name) => isIn(name, place)));
    if (stray !== undefined)
      throw new InputError(
        `${this.name}: no weight is called "${stray}", which should be frozen; there are ${[...this.#variables.keys()].join(', ')}`,
      );
    this.#given = undefined;
    this.built = true;
  }

  /** Parameters as the model's functions take them: the variables themselves, no copies. */
  params(): unknown {
    return this.#tree(this.#spec, '');
  }

  override call(inputs: tf.Tensor | tf.Tensor[]): tf.Tensor {
    return tf.tidy(this.name, () => {
      const x = Array.isArray(inputs) ? inputs[0] : inputs;
      const { input, call, outputShape } = layerKind(this.kind);
      const width = input === 'ids' ? 1 : this.#widthOf(x.shape);
      const batch = x.shape[0];
      const packed = { batch, rows: x.size / width / batch };
      const y = call(this.params(), tf.reshape(x, [x.size / width, width]), this.options, packed);
      return tf.reshape(y, outputShape(x.shape, this.options) as number[]);
    });
  }

  override computeOutputShape(inputShape: Parameters<layers.Layer['computeOutputShape']>[0]) {
    return [...layerKind(this.kind).outputShape(inputShape as Shape, this.options)];
  }

  override getConfig(): tf.serialization.ConfigDict {
    return {
      ...super.getConfig(),
      kind: this.kind,
      options: this.options as tf.serialization.ConfigDictValue,
      frozen: [...this.frozen],
      kernelInitializer: saved(this.#kernelInitializer) as tf.serialization.ConfigDictValue,
    };
  }

  /** The width of a row. @throws InputError for an input that this kind of layer does not take */
  #widthOf(shape: Shape): number {
    const { input, width: expected } = layerKind(this.kind);
    const width = shape[shape.length - 1];
    const wanted = expected(this.options);
    const what = input === 'sequences' ? '[batch, rows, width]' : '[…, width]';
    if (input === 'sequences' ? shape.length !== 3 : shape.length < 2)
      throw new InputError(`${this.name} (${this.kind}) takes ${what}, got [${shape.join(', ')}]`);
    if (width === null || (wanted !== null && width !== wanted))
      throw new InputError(
        `${this.name} (${this.kind}) takes rows of ${wanted ?? 'a known number of'} values, got [${shape.map((d) => d ?? 'null').join(', ')}]`,
      );
    return width;
  }

  /** Creates the variables of a spec tree, at the values given or where initialisers put them. */
  #make(spec: unknown, given: unknown, place: string): void {
    if (!isLeafSpec(spec)) {
      const parts = given as Readonly<Record<string, unknown>> | undefined;
      for (const [key, part] of Object.entries(spec as object))
        this.#make(part, parts?.[key], place === '' ? key : `${place}.${key}`);
      return;
    }
    const kernel = () => initializerOf(this.#kernelInitializer);
    if (spec.leaf !== 'linear') {
      const value = given as tf.Tensor | undefined;
      const start = value ? startAt(value) : initializerOf(spec.shape.length === 1 ? 'ones' : kernel());
      this.#add(place || 'weight', spec.shape, start);
      return;
    }
    const { inSize, outSize, bias } = spec;
    const map = given as Linear | undefined;
    tf.tidy(() => {
      const names = namesOf(place);
      this.#add(names.weight, [inSize, outSize], map ? startAt(map.weight.dense()) : kernel());
      if (bias) this.#add(names.bias, [outSize], map?.bias ? startAt(map.bias) : initializerOf('zeros'));
    });
  }

  #add(name: string, shape: readonly number[], initializer: Initializer): void {
    const trainable = !this.frozen.some((place) => isIn(name, place));
    this.#variables.set(name, this.addWeight(name, [...shape], 'float32', initializer, undefined, trainable));
  }

  #tree(spec: unknown, place: string): unknown {
    if (!isLeafSpec(spec))
      return Object.fromEntries(
        Object.entries(spec as object).map(([key, part]) => [
          key,
          this.#tree(part, place === '' ? key : `${place}.${key}`),
        ]),
      );
    return this.#leaf(spec, place);
  }

  #leaf(spec: LeafSpec, place: string): unknown {
    const read = (name: string) => (this.#variables.get(name) as LayerVariable).read();
    if (spec.leaf !== 'linear') return read(place || 'weight');
    const names = namesOf(place);
    return {
      name: place,
      weight: float32Matrix(read(names.weight) as tf.Tensor2D),
      bias: spec.bias ? (read(names.bias) as tf.Tensor1D) : null,
      lora: [],
    } satisfies Linear;
  }
}

const namesOf = (place: string) => ({
  weight: place === '' ? 'weight' : `${place}.weight`,
  bias: place === '' ? 'bias' : `${place}.bias`,
});

/** Whether a weight lies at or below a place. */
const isIn = (name: string, place: string): boolean => name === place || name.startsWith(`${place}.`);

// Without this a saved model could not be loaded; importing this entry is what says that it is wanted.
tf.serialization.registerClass(ModelLayer);
