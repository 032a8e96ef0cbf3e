import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { parseJson, readText } from '../../weights/read-text.ts';
import { encodeSafetensors } from '../../weights/safetensors-writer.ts';
import { DeviceError, InputError } from '../errors.ts';
import { parameterCount } from '../params.ts';
import type { JinaEmbeddings } from '../platform/node.ts';
import type { WeightsTrainable } from '../train/weight-variables.ts';
import { bytes, count } from './amounts.ts';
import { openTemporaryFile } from './temporary-file.ts';

// A weight, its gradient and AdamW's two means, float32, beside the model that they are copied from.
const BYTES_A_WEIGHT = 16;

/** @throws DeviceError where all weights, their gradients and their moments do not fit beside the model */
export async function checkTrainable({ model, name }: JinaEmbeddings): Promise<void> {
  const { nodeDoor } = await import('../platform/node.ts');
  const free = nodeDoor.memory()?.free ?? Number.POSITIVE_INFINITY;
  const weights = parameterCount(model.spec);
  const needed = BYTES_A_WEIGHT * weights;
  if (needed <= free) return;
  throw new DeviceError(
    `--all-weights: ${count(weights)} weights of ${name} with gradients and moments take ${bytes(needed)}, and ` +
      `${bytes(free)} are free; train a LoRA instead`,
  );
}

/** @throws InputError where a checkpoint lies in the folder already: it may be the one that is trained */
export async function checkNoCheckpoint(folder: string): Promise<void> {
  const there = await stat(join(folder, 'config.json')).catch(() => null);
  if (there)
    throw new InputError(`${folder}: holds a checkpoint already; choose another folder for --all-weights`);
}

const COPIED = ['preprocessor_config.json', 'tokenizer.json', 'tokenizer_config.json'];

/**
 * Writes a trained model as a checkpoint in the published layout, float32, with the small files of the one it began as.
 * Adapters are left behind: they were trained on other weights. The weights come last, and make it whole.
 */
export async function writeTrained(
  source: string | undefined,
  trained: WeightsTrainable,
  folder: string,
): Promise<void> {
  const { openToLook } = await import('../platform/node.ts');
  const { checkpointTensors } = await import('../train/checkpoint-tensors.ts');
  const tree = await openToLook(source ?? null);
  try {
    for (const name of COPIED) await write(join(folder, name), await readText(tree, name));
    const config = parseJson(await readText(tree, 'config.json'), `${tree.name}/config.json`) as object;
    const { random_weights: _, ...rest } = config as Record<string, unknown>; // they no longer are
    await write(join(folder, 'config.json'), `${JSON.stringify(rest, null, 2)}\n`);
  } finally {
    await tree.close();
  }
  const tensors = await checkpointTensors(trained);
  await write(join(folder, 'model.safetensors'), encodeSafetensors(tensors, { format: 'pt' }));
}

async function write(path: string, data: string | Uint8Array): Promise<void> {
  const file = await openTemporaryFile(path);
  try {
    await file.append(data);
    await file.commit();
  } finally {
    await file.discard();
  }
}
