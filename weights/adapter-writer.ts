import { narrowToBf16, narrowToF16 } from './narrow.ts';
import { encodeSafetensorsHeader, type TensorHeading } from './safetensors-writer.ts';

/** A LoRA on one linear map, as PEFT lays it out: y += scale · (B · act(A x) + bBias). */
export type AdapterModuleValues = {
  /** [R, in] */
  readonly a: Float32Array;
  /** [out, R] */
  readonly b: Float32Array;
  readonly rank: number;
  readonly inSize: number;
  readonly outSize: number;
  readonly scale: number;
  /** [out], or null: zeros where another module has one. */
  readonly bBias: Float32Array | null;
  /** [out], of DoRA; all modules have one, or none has. */
  readonly magnitude: Float32Array | null;
  /** Where the map is a convolution in PyTorch: the shape of its weight, [out, in channels, ...kernel]. */
  readonly kernel: readonly number[] | null;
  /** The map is a table: A [R, V] is looked up. */
  readonly table: boolean;
};

/** A part that is replaced as a whole (`modules_to_save`), or in its bias alone (`bias: all`, `lora_only`). */
export type SavedModuleValues = {
  /** Values in the order of `shape`. */
  readonly weight: Float32Array | null;
  readonly shape: readonly number[];
  /** [out] */
  readonly bias: Float32Array | null;
};

export type AdapterValues = {
  readonly modules: ReadonlyMap<string, AdapterModuleValues>;
  readonly saved: ReadonlyMap<string, SavedModuleValues>;
  readonly activation: 'none' | 'relu';
};

export type AdapterWriteOptions = {
  /** How numbers are stored. Default F32; BF16 and F16 round to nearest. */
  readonly dtype?: 'F32' | 'BF16' | 'F16';
  /**
   * How the paths of the decoder and the tower begin. PEFT does not translate between them: it must be the layout of the
   * class that will load the file. `new` (default): `model.language_model.…`, `model.visual.…`, transformers ≥ 4.52 and
   * the published adapters. `old`: `model.layers.…`, `visual.…`.
   */
  readonly layout?: 'new' | 'old';
  /** `base_model_name_or_path`: the repository that the adapter belongs to. Default none. */
  readonly baseModel?: string;
};

/** The two files of a PEFT folder. `weights` are the pieces of `adapter_model.safetensors`, in order. */
export type AdapterFiles = { readonly config: string; readonly weights: readonly Uint8Array[] };

/**
 * What PEFT's `save_pretrained` would have written (peft: utils/save_and_load.py). The matrices are stored as they are and
 * the scale becomes alpha = scale · r, per module where modules differ. `activation: relu` goes into a key of our own,
 * which PEFT does not know: it loads such an adapter, and runs it without the ReLU.
 */
export function encodeAdapter(adapter: AdapterValues, options: AdapterWriteOptions = {}): AdapterFiles {
  const { dtype = 'F32', layout = 'new' } = options;
  const path = (module: string) => (layout === 'new' ? newLayout(module) : module);
  const tensors: (TensorHeading & { readonly values: Float32Array })[] = [];
  const add = (name: string, shape: readonly number[], values: Float32Array) =>
    tensors.push({ name: `base_model.model.${name}`, dtype, shape, values });

  const all = [...adapter.modules.values()];
  const loraBias = all.some((m) => m.bBias !== null);
  for (const [module, m] of adapter.modules) {
    const name = path(module);
    const kernel = m.kernel?.slice(1) ?? [m.inSize];
    add(m.table ? `${name}.lora_embedding_A` : `${name}.lora_A.weight`, [m.rank, ...kernel], m.a);
    add(
      m.table ? `${name}.lora_embedding_B` : `${name}.lora_B.weight`,
      [m.outSize, m.rank, ...kernel.slice(1).map(() => 1)],
      m.b,
    );
    if (loraBias && !m.table) add(`${name}.lora_B.bias`, [m.outSize], m.bBias ?? new Float32Array(m.outSize));
    if (m.magnitude) {
      const shape = m.kernel ? m.kernel.map((_, axis) => (axis === 1 ? m.outSize : 1)) : [m.outSize];
      add(`${name}.lora_magnitude_vector`, shape, m.magnitude);
    }
  }
  for (const [module, { weight, shape, bias }] of adapter.saved) {
    const name = adapter.modules.has(module) ? `${path(module)}.base_layer` : path(module);
    if (weight) add(`${name}.weight`, shape, weight);
    if (bias) add(`${name}.bias`, [bias.length], bias);
  }
  const header = encodeSafetensorsHeader(tensors, { format: 'pt' });
  const config = configOf(adapter, path, { loraBias, baseModel: options.baseModel });
  return {
    config: `${JSON.stringify(config, null, 2)}\n`,
    weights: [header, ...tensors.map(({ values }) => bytesOf(values, dtype))],
  };
}

function configOf(
  { modules, saved, activation }: AdapterValues,
  path: (module: string) => string,
  { loraBias, baseModel }: { loraBias: boolean; baseModel?: string },
) {
  const all = [...modules].map(([module, { rank, scale }]) => ({
    key: path(module),
    rank,
    alpha: scale * rank,
  }));
  const whole = [...saved].flatMap(([module, { weight }]) =>
    weight && !modules.has(module) ? [module] : [],
  );
  const biases = [...saved].flatMap(([module, { weight }]) => (weight ? [] : [module]));
  const bias = biases.length === 0 ? 'none' : biases.every((m) => modules.has(m)) ? 'lora_only' : 'all';
  const r = mostFrequent(all.map((m) => m.rank)) ?? 1;
  const alpha = mostFrequent(all.map((m) => m.alpha)) ?? 1;
  // A pattern is a regular expression for whole names. Dots are left as they are: PEFT before 0.14 looked up the very name.
  const others = (what: 'rank' | 'alpha', usual: number) =>
    Object.fromEntries(all.filter((m) => m[what] !== usual).map((m) => [m.key, m[what]]));
  return {
    peft_type: 'LORA',
    task_type: 'FEATURE_EXTRACTION',
    base_model_name_or_path: baseModel ?? null,
    inference_mode: true,
    r,
    lora_alpha: alpha,
    rank_pattern: others('rank', r),
    alpha_pattern: others('alpha', alpha),
    target_modules: all.map((m) => m.key),
    modules_to_save: whole.length > 0 ? whole.map(path) : null,
    bias,
    lora_bias: loraBias,
    lora_dropout: 0,
    fan_in_fan_out: false,
    init_lora_weights: true,
    use_rslora: false,
    use_dora: [...modules.values()].some((m) => m.magnitude !== null),
    ...(activation === 'none' ? {} : { activation }),
  };
}

const newLayout = (module: string): string =>
  module
    .replace(/^visual\./, 'model.visual.')
    .replace(/^model\.(?=layers\.|norm\b|embed_tokens\b)/, 'model.language_model.');

/** The earliest of the values that come most often. */
function mostFrequent(values: readonly number[]): number | undefined {
  const counts = new Map<number, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return [...counts].sort(([, a], [, b]) => b - a)[0]?.[0];
}

function bytesOf(values: Float32Array, dtype: 'F32' | 'BF16' | 'F16'): Uint8Array {
  const words = dtype === 'F32' ? values : dtype === 'BF16' ? narrowToBf16(values) : narrowToF16(values);
  return new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
}
