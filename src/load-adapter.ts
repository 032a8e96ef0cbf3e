import { type LoraTerm, type Matrix, matrixStore } from '../kernels/index.ts';
import type { AdapterFile } from '../weights/adapter-files.ts';
import { counted, listProblems } from '../weights/problem-list.ts';
import { type LentBytes, readAhead } from '../weights/read-ahead.ts';
import type { TensorEntry } from '../weights/safetensors.ts';
import type { Adapter } from './adapters/with-adapters.ts';
import { CheckpointError } from './errors.ts';
import type { WeightResidence } from './load.ts';
import { leavesOf, type ModelSpec } from './params.ts';

export type LoadAdapterOptions = { readonly residence?: WeightResidence; readonly signal?: AbortSignal };

/**
 * A LoRA file → an adapter in memory, resident whatever the base is. Every module must be a linear map of this model and
 * every matrix must fit it: a misfit is told before a tensor is read, never skipped (a LoRA that silently does not load
 * leaves the plain backbone, which looks like a working model).
 */
export async function loadAdapter(
  file: AdapterFile,
  spec: ModelSpec,
  options: LoadAdapterOptions = {},
): Promise<Adapter> {
  checkModules(file, spec);
  const terms = new Map<string, LoraTerm>();
  const dispose = () => {
    for (const { a, b } of terms.values()) {
      a.dispose();
      b.dispose();
    }
  };
  let parameters = 0;
  let rank = 0;
  try {
    const entries = [...file.modules.values()].flatMap(({ a, b }) => [a, b]);
    const bytes = await readAhead([entries], { once: true }).take(0, options.signal);
    for (const [name, { a, b, scale }] of file.modules) {
      const down = matrixOf(a, bytes, options); // [R, in] in the file, [in, R] here
      const up = matrixOf(b, bytes, options); //   [out, R] in the file, [R, out] here
      terms.set(name, { a: down, b: up, scale, activation: file.config.activation });
      parameters += down.inSize * down.outSize + up.inSize * up.outSize;
      rank = Math.max(rank, down.outSize);
    }
  } catch (error) {
    dispose();
    throw error;
  }
  return { name: file.task, rank, terms, parameters, dispose };
}

function matrixOf(entry: TensorEntry, bytes: LentBytes, { residence }: LoadAdapterOptions): Matrix {
  const [outSize, inSize] = entry.shape;
  const raw = { bytes: bytes.get(entry.name) as Uint8Array, dtype: entry.dtype, outSize, inSize };
  return residence === 'float32' ? matrixStore().float32(raw) : matrixStore().packed(raw);
}

function checkModules(file: AdapterFile, spec: ModelSpec): void {
  const linears = new Map(leavesOf(spec).flatMap((l) => (l.leaf === 'linear' ? [[l.name, l] as const] : [])));
  const problems: string[] = [];
  for (const [name, { a, b, bBias, magnitude }] of file.modules) {
    const target = linears.get(name);
    if (!target) {
      problems.push(`unexpected  ${name}: the model has no linear map of this name`);
      continue;
    }
    if (a.shape[1] !== target.inSize || b.shape[0] !== target.outSize) {
      problems.push(
        `wrong shape ${name}: expected A [r, ${target.inSize}] and B [${target.outSize}, r], ` +
          `found A [${a.shape.join(', ')}] and B [${b.shape.join(', ')}]`,
      );
    }
    if (bBias || magnitude)
      problems.push(`unsupported ${name}: ${bBias ? 'lora_bias' : 'DoRA magnitude'} tensors`);
  }
  if (problems.length > 0) {
    const title = `adapter "${file.task}" does not fit this model (${counted(problems.length, 'module')}):`;
    throw new CheckpointError(listProblems(title, problems));
  }
}
