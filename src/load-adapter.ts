import * as tf from '@tensorflow/tfjs-core';
import type { LoraTerm } from '../kernels/index.ts';
import type { AdapterFile } from '../weights/adapter-files.ts';
import { readFloat32 } from '../weights/safetensors.ts';
import type { Adapter } from './adapters/with-adapters.ts';
import { CheckpointError } from './errors.ts';
import { leavesOf, type ModelSpec } from './params.ts';

/**
 * A LoRA file → an adapter in memory, float32 whatever the base is. Every module must be a linear map of this model and
 * every matrix must fit it: a misfit is told before a tensor is read, never skipped (a LoRA that silently does not load
 * leaves the plain backbone, which looks like a working model).
 */
export async function loadAdapter(
  file: AdapterFile,
  spec: ModelSpec,
  signal?: AbortSignal,
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
    for (const [name, { a, b, scale }] of file.modules) {
      const down = await readFloat32(a, { signal }); // [R, in]
      const up = await readFloat32(b, { signal }); //   [out, R]
      terms.set(name, {
        a: transposed(down, a.shape[0], a.shape[1]), // [in, R]
        b: transposed(up, b.shape[0], b.shape[1]), //   [R, out]
        scale,
        activation: file.config.activation,
      });
      parameters += down.length + up.length;
      rank = Math.max(rank, a.shape[0]);
    }
  } catch (error) {
    dispose();
    throw error;
  }
  return { name: file.task, rank, terms, parameters, dispose };
}

const transposed = (values: Float32Array, rows: number, columns: number): tf.Tensor2D =>
  tf.tidy(() => tf.transpose(tf.tensor2d(values, [rows, columns])));

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
    throw new CheckpointError(
      `adapter "${file.task}" does not fit this model (${problems.length} modules):\n  ${problems.join('\n  ')}`,
    );
  }
}
