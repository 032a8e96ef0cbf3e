import { InputError } from './errors.ts';
import { MAX_LENGTH } from './text/prompts.ts';

export type OutputPrecision = 'float32' | 'float16' | 'int8' | 'uint8' | 'binary' | 'ubinary';
export const OUTPUT_PRECISIONS: readonly OutputPrecision[] = [
  'float32',
  'float16',
  'int8',
  'uint8',
  'binary',
  'ubinary',
];

export type DeviceName = 'auto' | 'cuda' | 'tensorflow' | 'webgpu' | 'wasm' | 'cpu';
export const DEVICE_NAMES: readonly DeviceName[] = ['auto', 'cuda', 'tensorflow', 'webgpu', 'wasm', 'cpu'];

export type Residence = 'auto' | 'float32' | 'bfloat16' | 'streamed';
export const RESIDENCES: readonly Residence[] = ['auto', 'float32', 'bfloat16', 'streamed'];

/** How products are computed on WebGPU (kernels/product-settings.ts). */
export type KernelVariant = 'auto' | 'plain' | 'subgroups' | 'half' | 'matrix';
export const KERNEL_VARIANTS: readonly KernelVariant[] = ['auto', 'plain', 'subgroups', 'half', 'matrix'];

/** Every setting, with its meaning. What a call does not say comes from here. */
export type Settings = {
  /** Where to compute. `auto` takes the best that is there and says why. */
  readonly device: DeviceName;
  /** Arithmetic of the model. `null`: the device's policy. */
  readonly compute: 'float32' | 'float16' | null;
  /** Which shaders multiply on WebGPU, where device and `compute` allow them. `auto`: as measured (bench/README.md). */
  readonly kernelVariant: KernelVariant;
  /**
   * Where weights live: all as float32, all as the checkpoint has them (bfloat16, or quantised), or one block at a time from
   * disk. `auto` looks at free memory.
   */
  readonly residence: Residence;
  /** Threads of the wasm backend. `null`: one a core, at most 4. */
  readonly threads: number | null;
  /** Adapter that runs when a call names none. `null`: the checkpoint's first. */
  readonly task: string | null;
  readonly promptName: 'query' | 'passage' | 'document';
  /** Matryoshka size of single vectors. `null`: the checkpoint's truncate_dim, or full size. */
  readonly truncateDim: number | null;
  /** Inputs that run together. `null`: the device's policy. */
  readonly batchSize: number | null;
  /** Tokens that run together, at most (a longer input runs alone). */
  readonly tokenBudget: number;
  /** Tokens of a text, prefix included; more are cut off at the right. */
  readonly maxLength: number;
  /** Pixels an image is resized down to. `null`: the checkpoint's preprocessor_config. */
  readonly maxPixels: number | null;
  readonly normalize: boolean;
  /** Element type of the embeddings. */
  readonly precision: OutputPrecision;
  /** Task names that stand for another adapter where the checkpoint has none of that name. */
  readonly taskAliases: Readonly<Record<string, string>>;
  /** Which prefix text-matching passages get: `documented` (Query) or as the published Python code does. */
  readonly taskPrefix: 'documented' | 'python';
};

export const DEFAULT_SETTINGS: Settings = Object.freeze({
  device: 'auto',
  compute: null,
  kernelVariant: 'auto',
  residence: 'auto',
  threads: null,
  task: null,
  promptName: 'query',
  truncateDim: null,
  batchSize: null,
  tokenBudget: 16384,
  maxLength: MAX_LENGTH,
  maxPixels: null,
  normalize: true,
  precision: 'float32',
  taskAliases: Object.freeze({ classification: 'text-matching', clustering: 'text-matching' }),
  taskPrefix: 'documented',
});

const wholeUpTo =
  (max: number) =>
  (v: unknown): string | null =>
    Number.isInteger(v) && (v as number) >= 1 && (v as number) <= max
      ? null
      : `a whole number from 1 to ${max}`;
const oneOf =
  (words: readonly string[]) =>
  (v: unknown): string | null =>
    words.includes(v as string) ? null : `one of ${words.join(', ')}`;
const orNull =
  (check: (v: unknown) => string | null) =>
  (v: unknown): string | null => {
    const wrong = v === null ? null : check(v);
    return wrong && `${wrong}, or null`;
  };
const word = (v: unknown): string | null => (typeof v === 'string' && v !== '' ? null : 'a word');
const flag = (v: unknown): string | null => (typeof v === 'boolean' ? null : 'true or false');
const wordMap = (v: unknown): string | null =>
  typeof v === 'object' && v !== null && Object.values(v).every((x) => typeof x === 'string')
    ? null
    : 'an object of words';

/** What each setting accepts: null when the value is good, else what was expected. */
const CHECKS: { readonly [K in keyof Settings]: (v: unknown) => string | null } = {
  device: oneOf(DEVICE_NAMES),
  compute: orNull(oneOf(['float32', 'float16'])),
  kernelVariant: oneOf(KERNEL_VARIANTS),
  residence: oneOf(RESIDENCES),
  threads: orNull(wholeUpTo(64)),
  task: orNull(word),
  promptName: oneOf(['query', 'passage', 'document']),
  truncateDim: orNull(wholeUpTo(1 << 20)),
  batchSize: orNull(wholeUpTo(65536)),
  tokenBudget: wholeUpTo(1 << 30),
  maxLength: wholeUpTo(MAX_LENGTH),
  maxPixels: orNull(wholeUpTo(1 << 30)),
  normalize: flag,
  precision: oneOf(OUTPUT_PRECISIONS),
  taskAliases: wordMap,
  taskPrefix: oneOf(['documented', 'python']),
};

const PREFIX = 'JINA_EMBEDDINGS_';

/** One place for settings: defaults < file < environment < options. Validated and frozen; an unknown key is an error. */
export class Config {
  readonly settings: Settings;

  constructor(
    layers: { file?: unknown; env?: Readonly<Record<string, string | undefined>>; options?: object } = {},
  ) {
    this.settings = Object.freeze({
      ...DEFAULT_SETTINGS,
      ...checked(layers.file ?? {}, 'settings file'),
      ...checked(fromEnvironment(layers.env ?? {}), 'environment'),
      ...checked(layers.options ?? {}, 'options'),
    });
  }

  /** These settings with some replaced, as for one call. */
  with(options: object): Config {
    return new Config({ file: this.settings, options });
  }
}

/** The given settings, each checked. `undefined` means "not given". */
function checked(given: unknown, where: string): Partial<Settings> {
  if (typeof given !== 'object' || given === null || Array.isArray(given)) {
    throw new InputError(`${where}: expected an object of settings, got ${JSON.stringify(given)}`);
  }
  const entries = Object.entries(given).filter(([, value]) => value !== undefined);
  for (const [key, value] of entries) {
    const check = (CHECKS as Record<string, ((v: unknown) => string | null) | undefined>)[key];
    if (!check) {
      throw new InputError(
        `${where}: unknown setting "${key}"; the settings are ${Object.keys(CHECKS).join(', ')}`,
      );
    }
    const expected = check(value);
    if (expected) throw new InputError(`${where}: ${key} must be ${expected}, got ${JSON.stringify(value)}`);
  }
  return Object.fromEntries(entries) as Partial<Settings>;
}

/** `JINA_EMBEDDINGS_BATCH_SIZE=4` → { batchSize: 4 }. A variable of that prefix that names no setting is an error. */
function fromEnvironment(env: Readonly<Record<string, string | undefined>>): Record<string, unknown> {
  const found = Object.entries(env).filter(([name, value]) => name.startsWith(PREFIX) && value !== undefined);
  return Object.fromEntries(
    found.map(([name, value]) => {
      const key = name
        .slice(PREFIX.length)
        .toLowerCase()
        .replace(/_(.)/g, (_, c: string) => c.toUpperCase());
      return [key, parseWord(value as string)];
    }),
  );
}

function parseWord(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text; // a plain word such as wasm
  }
}
