import { CheckpointError } from '../src/errors.ts';

/** What `adapter_config.json` says that matters once the tensors are there.   (peft: tuners/lora/config.py, LoraConfig) */
export type AdapterConfig = {
  readonly r: number;
  readonly loraAlpha: number;
  /** Scale alpha/√r instead of alpha/r. */
  readonly useRslora: boolean;
  readonly useDora: boolean;
  /** B has a bias. */
  readonly loraBias: boolean;
  /** Rank and alpha of modules whose path ends with a pattern (a regular expression); the first that matches counts. */
  readonly rankPattern: Readonly<Record<string, number>>;
  readonly alphaPattern: Readonly<Record<string, number>>;
  /** Between down and up. Our own optional key "activation"; PEFT has none. */
  readonly activation: 'none' | 'relu';
  readonly modulesToSave: readonly string[];
  /** Which biases of the base were trained along and are in the file. */
  readonly bias: 'none' | 'all' | 'lora_only';
};

/**
 * Keys that, when set, change what the tensors mean, and are not implemented. Everything else PEFT writes concerns training
 * (dropout, init, inference_mode), or choosing modules (target_modules, …: the tensors in the file are the choice), or
 * nn.Linear never (fan_in_fan_out), and is not looked at.
 */
const unsupportedKeys = [
  'target_parameters',
  'trainable_token_indices',
  'layer_replication',
  'alora_invocation_tokens',
  'arrow_config',
  'use_qalora',
  'use_bdlora',
  'kasa_config',
  'monteclora_config',
] as const;

/** These initialisations subtract something from the base weights: on the published base the adapter alone is wrong. */
const baseChangingInit = /^(?:pissa|olora|corda|loftq|lora_ga)/;

/** Reads and judges the parsed JSON. All that is wrong is told in one `CheckpointError`; `where` names the file. */
export function parseAdapterConfig(json: unknown, where: string): AdapterConfig {
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    throw new CheckpointError(`${where}: expected a JSON object, got ${JSON.stringify(json)}`);
  }
  const given = json as Readonly<Record<string, unknown>>;
  const problems: string[] = [];
  const must = (key: string, right: boolean, expected: string): void => {
    if (!right) problems.push(`${key} must be ${expected}, got ${JSON.stringify(given[key]) ?? 'nothing'}`);
  };
  const flag = (key: string): boolean => {
    const value = given[key] ?? false;
    must(key, typeof value === 'boolean', 'true or false');
    return value === true;
  };
  const pattern = (key: string, sound: (n: unknown) => boolean, expected: string): Record<string, number> => {
    const value = given[key] ?? {};
    const right =
      typeof value === 'object' && Object.entries(value).every(([k, n]) => isRegex(k) && sound(n));
    must(key, right, `an object of regular expressions and ${expected}`);
    return value as Record<string, number>;
  };

  must('peft_type', given.peft_type === 'LORA', '"LORA", the only kind that is supported');
  must('r', isRank(given.r), 'a positive whole number');
  must('lora_alpha', isNumber(given.lora_alpha), 'a number');
  must(
    'bias',
    [undefined, null, 'none', 'all', 'lora_only'].includes(given.bias as null),
    '"none", "all" or "lora_only"',
  );
  must(
    'activation',
    [undefined, null, 'none', 'relu'].includes(given.activation as null),
    '"none" or "relu"',
  );
  must(
    'init_lora_weights',
    !baseChangingInit.test(String(given.init_lora_weights)),
    'one that leaves the base as it is (convert it with PEFT)',
  );
  const saved = given.modules_to_save ?? [];
  const wordList = Array.isArray(saved) && saved.every((word) => typeof word === 'string');
  must('modules_to_save', wordList, 'a list of module names');
  if (given.use_dora === true && given.lora_bias === true)
    problems.push('use_dora and lora_bias exclude each other (PEFT refuses the pair, too)');
  if (given.use_dora === true && given.activation === 'relu')
    problems.push('use_dora needs one matrix A B to measure, and activation "relu" leaves none');
  for (const key of unsupportedKeys) {
    if (isSet(given[key]))
      problems.push(`${key} is not supported here yet, got ${JSON.stringify(given[key])}`);
  }
  const config: AdapterConfig = {
    r: given.r as number,
    loraAlpha: given.lora_alpha as number,
    useRslora: flag('use_rslora'),
    useDora: flag('use_dora'),
    loraBias: flag('lora_bias'),
    rankPattern: pattern('rank_pattern', isRank, 'positive whole numbers'),
    alphaPattern: pattern('alpha_pattern', isNumber, 'numbers'),
    activation: given.activation === 'relu' ? 'relu' : 'none',
    modulesToSave: wordList ? saved : [],
    bias: (given.bias as AdapterConfig['bias'] | null | undefined) ?? 'none',
  };
  if (problems.length === 0) return Object.freeze(config);
  throw new CheckpointError(`${where}: this adapter cannot be used:\n  ${problems.join('\n  ')}`);
}

/** The value whose pattern matches the module's path, `(.*\.)?(pattern)$`.   (peft: utils/other.py, get_pattern_key) */
export function patternValue(patterns: Readonly<Record<string, number>>, path: string): number | undefined {
  const key = Object.keys(patterns).find((pattern) => new RegExp(`^(?:.*\\.)?(?:${pattern})$`).test(path));
  return key === undefined ? undefined : patterns[key];
}

const isNumber = (value: unknown): boolean => typeof value === 'number' && Number.isFinite(value);
const isRank = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) > 0;

const isSet = (value: unknown): boolean =>
  value !== undefined && value !== null && value !== false && !(Array.isArray(value) && value.length === 0);

function isRegex(pattern: string): boolean {
  try {
    new RegExp(pattern);
    return true;
  } catch {
    return false;
  }
}
