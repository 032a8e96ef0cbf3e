import { canonicalName, TOKEN_TABLE } from './names.ts';

/**
 * The parts of a LoRA on one linear map (y += scale · (B A x + bBias), and DoRA's row norms) or table, what replaces it as a
 * whole, and what stands below a LoRA in place of the base's own.
 */
export type AdapterPart = 'a' | 'b' | 'bBias' | 'magnitude' | 'weight' | 'bias' | 'baseWeight';

/** A tensor's name in an adapter file, taken apart. */
export type AdapterTensorName = {
  /** The module as the file calls it, without `base_model.model.`: what PEFT's patterns are matched with. */
  readonly path: string;
  /** The same, in the names of this project. */
  readonly module: string;
  readonly part: AdapterPart;
  /** What stands between part and `weight`: nothing, a task, an adapter name, or an adapter name and a task. */
  readonly labels: readonly string[];
  /** A and B of a table, whose A is looked up: `lora_embedding_A`. */
  readonly table: boolean;
};

/** What the file's config says about whole tensors. */
export type WholeTensors = {
  readonly modulesToSave: readonly string[];
  /** Biases of the base that were trained along: those of every module, or of those with a LoRA. */
  readonly bias: 'none' | 'all' | 'lora_only';
};

/**
 * Takes `base_model.model.<module>.lora_(A|B)[.<adapter>][.<task>].weight` apart, with the variants of PEFT: `lora_B.bias`,
 * `lora_magnitude_vector` (no `.weight`), and modules that are saved whole. A name of another kind comes back as the reason why it is not used.
 *
 * PEFT ≤ 0.17.1 leaves the adapter's name out of what it saves, later versions leave it in where tasks follow it, so both
 * forms are met. Labels hold no dots (they are keys of torch modules) but may hold dashes: `text-matching`.
 */
export function parseAdapterTensorName(name: string, whole: WholeTensors): AdapterTensorName | string {
  const bare = name.replace(/^base_model\.model\./, '');
  const match = /^(.+?)\.(lora_(?:embedding_)?[AB]|lora_magnitude_vector)((?:\.[^.]+)*)$/.exec(bare);
  if (match === null) return parseWholeName(bare, whole);
  const [, path, kind, tail] = match;
  const table = kind.startsWith('lora_embedding');
  const labels = tail.split('.').slice(1);
  const last = labels.at(-1);
  const named = last === 'weight' || last === 'bias' ? labels.pop() : undefined;
  const part = table ? partOf(kind.replace('_embedding', ''), named ?? 'weight') : partOf(kind, named);
  if (part === null || labels.length > 2) return 'not a name that PEFT gives to a LoRA tensor';
  return { path, module: canonicalName(path), part, labels, table };
}

function partOf(kind: string, ending: string | undefined): AdapterPart | null {
  if (kind === 'lora_magnitude_vector') return ending === 'bias' ? null : 'magnitude';
  if (ending === 'weight') return kind === 'lora_A' ? 'a' : 'b';
  return ending === 'bias' && kind === 'lora_B' ? 'bBias' : null;
}

/**
 * A tensor that is there as a whole: of `modules_to_save`, `<module>.weight`, or with PEFT's wrapper
 * `<module>.modules_to_save.<adapter>.weight`; a bias of the base, below a LoRA `<module>.base_layer.bias`; the table below
 * a LoRA, `<module>.base_layer.weight`.
 */
function parseWholeName(name: string, { modulesToSave, bias }: WholeTensors): AdapterTensorName | string {
  const below = /^(.+)()\.base_layer\.(weight|bias)$/.exec(name);
  const wrapped = /^(.+)\.modules_to_save((?:\.[^.]+)?)\.(weight|bias)$/.exec(name);
  const plain = /^(.+?)()\.(weight|bias)$/.exec(name);
  const [, path, label, kind] = below ?? wrapped ?? plain ?? [];
  if (path === undefined) return 'not a LoRA tensor';
  const module = canonicalName(path);
  const of = (part: AdapterPart): AdapterTensorName => ({
    path,
    module,
    part,
    labels: label.split('.').slice(1),
    table: false,
  });
  if (below && kind === 'weight')
    return module === TOKEN_TABLE ? of('baseWeight') : 'only the token table is saved below a LoRA';
  // The module itself, or one that it is in, as `merger` of `merger.mlp.0`.   (peft: utils/other.py, _set_trainable)
  const around = path.split('.').map((_, i, all) => all.slice(0, i + 1).join('.'));
  if (!below && modulesToSave.some((m) => around.some((p) => p.endsWith(m)))) return of(kind as AdapterPart);
  if (kind === 'bias' && bias !== 'none') return of('bias');
  if (kind === 'bias' && below) return 'the config says bias: none';
  return wrapped ? 'modules_to_save does not name it' : 'not a LoRA tensor';
}
