import { CheckpointError } from '../src/errors.ts';
import { isFloatDtype } from './dtypes.ts';
import { counted, listProblems } from './problem-list.ts';
import type { TensorEntry } from './safetensors.ts';

export type ExpectedTensor = {
  readonly name: string;
  readonly shape: readonly number[];
  /** May also be quantised: the weight of a linear map. */
  readonly matrix?: boolean;
};

export type FitOptions = {
  /** Extra tensors that may be there. Default: none but `lm_head.weight`. */
  readonly allowUnexpected?: (name: string) => boolean;
  /** How the message calls what was opened. Default: `checkpoint`. */
  readonly what?: string;
};

/**
 * Whether the checkpoint is this model's, from headers alone, before any data is read. Everything that does not fit is told
 * in ONE `CheckpointError`: wrong shapes and dtypes and missing tensors in the spec's order, then unexpected ones.
 */
export function checkFit(
  specs: readonly ExpectedTensor[],
  entries: ReadonlyMap<string, TensorEntry>,
  options: FitOptions = {},
): void {
  const misfits = specs.flatMap((spec) => misfit(spec, entries.get(spec.name)));
  const expected = new Set(specs.map((spec) => spec.name));
  for (const name of entries.keys()) {
    if (expected.has(name) || isNeverUsed(name) || options.allowUnexpected?.(name)) continue;
    misfits.push(`unexpected  ${name}`);
  }
  if (misfits.length === 0) return;
  const title = `${options.what ?? 'checkpoint'} does not fit this model (${counted(misfits.length, 'tensor')}):`;
  throw new CheckpointError(
    `${listProblems(title, misfits)}\nconfig.json and the weights must come from the same model: download both again, or mend config.json`,
  );
}

// The language model head turns hidden states into logits; an embedding stops at the hidden states. Checkpoints whose
// embeddings are not tied (Qwen2.5-VL-7B) carry one all the same. It is left in the file.
const isNeverUsed = (name: string): boolean => name === 'lm_head.weight';

function misfit({ name, shape, matrix }: ExpectedTensor, entry: TensorEntry | undefined): string[] {
  if (entry === undefined) return [`missing     ${name} [${shape.join(', ')}]`];
  if (shape.length !== entry.shape.length || shape.some((size, axis) => size !== entry.shape[axis])) {
    return [`wrong shape ${name}: expected [${shape.join(', ')}], found [${entry.shape.join(', ')}]`];
  }
  if (!(isFloatDtype(entry.dtype) || (matrix && entry.quantized))) {
    return [`wrong dtype ${name}: expected F32, F16, BF16 or F64, found ${entry.dtype}`];
  }
  return [];
}
