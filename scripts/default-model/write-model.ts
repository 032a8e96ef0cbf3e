import { copyFile, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { preprocessorConfig } from '../../bench/make-checkpoint/plan-checkpoint.ts';
import { tokenizerConfig } from '../../bench/make-checkpoint/tokenizer-files.ts';
import { parseModelConfig } from '../../src/model-config.ts';
import { leavesOf, loraTargets, modelSpec } from '../../src/params.ts';
import { memorySource } from '../../weights/memory-source.ts';
import { narrowToBf16 } from '../../weights/narrow.ts';
import { readFloat32, readHeader } from '../../weights/safetensors.ts';
import { encodeSafetensors, type TensorData } from '../../weights/safetensors-writer.ts';
import { IMAGE_SIZE, LORA_RANK, TASKS } from './geometry.ts';

/** Values of a run's state by variable name; matrices as [in, out]. */
export type Values = ReadonlyMap<string, Float32Array>;

/** The values in a state that train.ts or train-adapters.ts saved. */
export async function readValues(path: string): Promise<Values> {
  const header = await readHeader(memorySource(path, await readFile(path)));
  const values = new Map<string, Float32Array>();
  for (const [name, entry] of header.tensors) {
    if (name.startsWith('value:')) values.set(name.slice(6), await readFloat32(entry));
  }
  return values;
}

/** Everything of the default checkpoint but its adapters, in the published layout, bfloat16. Replaces files one by one. */
export async function writeBase(
  folder: string,
  config: Record<string, unknown>,
  values: Values,
  tokenizerPath: string,
): Promise<void> {
  const tensors: TensorData[] = [];
  const add = (name: string, shape: readonly number[], data: Float32Array) =>
    tensors.push({ name, dtype: 'BF16', shape: [...shape], data: narrowToBf16(data) });
  for (const leaf of leavesOf(modelSpec(parseModelConfig(config)))) {
    if (leaf.leaf !== 'linear') {
      add(leaf.name, leaf.shape, trainedValue(values, leaf.name));
      continue;
    }
    const { inSize, outSize } = leaf;
    const turned = transpose(trainedValue(values, `${leaf.name}.weight`), inSize, outSize);
    add(`${leaf.name}.weight`, leaf.shape ?? [outSize, inSize], turned);
    if (leaf.bias) add(`${leaf.name}.bias`, [outSize], trainedValue(values, `${leaf.name}.bias`));
  }
  await mkdir(folder, { recursive: true });
  await replace(join(folder, 'config.json'), pretty(config));
  await replace(join(folder, 'preprocessor_config.json'), pretty(preprocessorConfig(IMAGE_SIZE ** 2)));
  await replace(join(folder, 'tokenizer_config.json'), pretty(tokenizerConfig()));
  await copyFile(tokenizerPath, join(folder, 'tokenizer.json'));
  await replace(join(folder, 'model.safetensors'), encodeSafetensors(tensors));
}

/** The task adapters in one file, named as the published checkpoint names them. `null`: none yet, and old ones are removed. */
export async function writeAdapters(
  folder: string,
  config: Record<string, unknown>,
  adapters: ReadonlyMap<string, Values> | null,
): Promise<void> {
  const place = join(folder, 'adapters');
  if (!adapters) return rm(place, { recursive: true, force: true });
  const tensors: TensorData[] = [];
  for (const { name, inSize, outSize } of loraTargets(modelSpec(parseModelConfig(config)))) {
    const path = `base_model.model.${name.replace(/^model\./, 'model.language_model.')}`;
    for (const task of TASKS) {
      const values = adapters.get(task)!;
      const matrix = (part: 'A' | 'B', rows: number, columns: number) => {
        const data = transpose(trainedValue(values, `${name}.lora_${part}.weight`), rows, columns);
        tensors.push({
          name: `${path}.lora_${part}.${task}.weight`,
          dtype: 'BF16',
          shape: [columns, rows],
          data: narrowToBf16(data),
        });
      };
      matrix('A', inSize, LORA_RANK);
      matrix('B', LORA_RANK, outSize);
    }
  }
  await mkdir(place, { recursive: true });
  await replace(join(place, 'adapter_config.json'), pretty(adapterConfig));
  await replace(join(place, 'adapter_model.safetensors'), encodeSafetensors(tensors));
}

const adapterConfig = {
  peft_type: 'LORA',
  task_type: 'FEATURE_EXTRACTION',
  r: LORA_RANK,
  lora_alpha: LORA_RANK,
  lora_dropout: 0,
  bias: 'none',
  use_rslora: false,
  use_dora: false,
  fan_in_fan_out: false,
  inference_mode: true,
  exclude_modules: '.*visual.*',
  target_modules:
    '(.*(model).*(down_proj|gate_proj|up_proj|k_proj|q_proj|v_proj|o_proj).*$|.*(multi_vector_projector).*$)',
  base_model_name_or_path: 'jina-embeddings default',
};

const pretty = (json: unknown): string => `${JSON.stringify(json, null, 1)}\n`;

/** A reader sees the old file or the new one. */
async function replace(path: string, data: string | Uint8Array): Promise<void> {
  await writeFile(`${path}.tmp`, data);
  await rename(`${path}.tmp`, path);
}

function trainedValue(values: Values, name: string): Float32Array {
  const value = values.get(name);
  if (value) return value;
  throw new Error(`the trained state has no ${name}; it is of another geometry, train again`);
}

/** [rows, columns] → [columns, rows] */
function transpose(x: Float32Array, rows: number, columns: number): Float32Array {
  const y = new Float32Array(x.length);
  for (let r = 0; r < rows; r++) for (let c = 0; c < columns; c++) y[c * rows + r] = x[r * columns + c];
  return y;
}
