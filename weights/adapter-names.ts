import { canonicalName } from './names.ts';

/** The parts of a LoRA on one linear map: y += scale · (B A x + bBias), and DoRA's row norms; or the map that replaces it. */
export type AdapterPart = 'a' | 'b' | 'bBias' | 'magnitude' | 'weight' | 'bias';

/** A tensor's name in an adapter file, taken apart. */
export type AdapterTensorName = {
  /** The module as the file calls it, without `base_model.model.`: what PEFT's patterns are matched with. */
  readonly path: string;
  /** The same, in the names of this project. */
  readonly module: string;
  readonly part: AdapterPart;
  /** What stands between part and `weight`: nothing, a task, an adapter name, or an adapter name and a task. */
  readonly labels: readonly string[];
};

/**
 * Takes `base_model.model.<module>.lora_(A|B)[.<adapter>][.<task>].weight` apart, with the variants of PEFT: `lora_B.bias`,
 * `lora_magnitude_vector` (no `.weight`), and modules that are saved whole. A name of another kind comes back as the reason why it is not used.
 *
 * PEFT ≤ 0.17.1 leaves the adapter's name out of what it saves, later versions leave it in where tasks follow it, so both
 * forms are met. Labels hold no dots (they are keys of torch modules) but may hold dashes: `text-matching`.
 */
export function parseAdapterTensorName(
  name: string,
  modulesToSave: readonly string[],
): AdapterTensorName | string {
  const bare = name.replace(/^base_model\.model\./, '');
  if (/\.lora_embedding_[AB](?:\.|$)/.test(bare))
    return 'LoRA on an embedding table is not supported here yet';
  const match = /^(.+?)\.(lora_A|lora_B|lora_magnitude_vector)((?:\.[^.]+)*)$/.exec(bare);
  if (match === null) return parseSavedName(bare, modulesToSave);
  const [, path, kind, tail] = match;
  const labels = tail.split('.').slice(1);
  const last = labels.at(-1);
  const named = last === 'weight' || last === 'bias' ? labels.pop() : undefined;
  const part = partOf(kind, named);
  if (part === null || labels.length > 2) return 'not a name that PEFT gives to a LoRA tensor';
  return { path, module: canonicalName(path), part, labels };
}

function partOf(kind: string, ending: string | undefined): AdapterPart | null {
  if (kind === 'lora_magnitude_vector') return ending === 'bias' ? null : 'magnitude';
  if (ending === 'weight') return kind === 'lora_A' ? 'a' : 'b';
  return ending === 'bias' && kind === 'lora_B' ? 'bBias' : null;
}

/** A tensor of `modules_to_save`: `<module>.weight`, or with PEFT's wrapper `<module>.modules_to_save.<adapter>.weight`. */
function parseSavedName(name: string, modulesToSave: readonly string[]): AdapterTensorName | string {
  const wrapped = /^(.+)\.modules_to_save((?:\.[^.]+)?)\.(weight|bias)$/.exec(name);
  const plain = /^(.+?)()\.(weight|bias)$/.exec(name);
  const [, path, label, part] = wrapped ?? plain ?? [];
  if (path === undefined) return 'not a LoRA tensor';
  // The module itself, or one inside it, as `mlp.0` of a merger.
  const named = modulesToSave.some((m) => `.${path}.`.includes(`.${m}.`));
  if (!named) return wrapped ? 'modules_to_save does not name it' : 'not a LoRA tensor';
  return {
    path,
    module: canonicalName(path),
    part: part as 'weight' | 'bias',
    labels: label.split('.').slice(1),
  };
}
