import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { openTerminal, printError } from '../../src/cli/terminal.ts';
import { defaultConfig, TASKS } from './geometry.ts';
import { MATERIAL_FOLDER, materialPath, readMaterial } from './material.ts';
import { readValues, type Values, writeAdapters, writeBase } from './write-model.ts';

const USAGE = `node --import tsx scripts/default-model/export.ts [options]

Writes what was trained as a checkpoint in the published layout, bfloat16.

  --out DIR         (default: weights/default)
  --material DIR    (default: ${MATERIAL_FOLDER})
  --base            without adapters, which are trained on it
  --adapters        these alone, beside the base that is there
`;

async function exportModel(): Promise<void> {
  const { values } = parseArgs({
    options: {
      out: { type: 'string', default: 'weights/default' },
      material: { type: 'string', default: MATERIAL_FOLDER },
      base: { type: 'boolean', default: false },
      adapters: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return openTerminal().print(USAGE);
  const { tokenizer } = await readMaterial(values.material);
  const config = defaultConfig(tokenizer.vocabSize, (word) => tokenizer.specialId(word));
  const run = join(values.material, 'run');
  const adapters = values.base ? null : new Map<string, Values>();
  if (adapters) {
    for (const task of TASKS) adapters.set(task, await readValues(join(run, `${task}.safetensors`)));
  }
  if (!values.adapters) {
    const base = await readValues(join(run, 'base.safetensors'));
    await writeBase(values.out, config, base, materialPath(values.material, 'tokenizer'));
  }
  await writeAdapters(values.out, config, adapters);
}

exportModel().catch((error: Error) => {
  printError(error.message);
  process.exitCode = 1;
});
