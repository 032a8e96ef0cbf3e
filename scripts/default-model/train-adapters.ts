import { appendFile, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { openTerminal, printError } from '../../src/cli/terminal.ts';
import type { DeviceName } from '../../src/config.ts';
import { JinaEmbeddings } from '../../src/platform/node.ts';
import { loraVariables } from '../../src/train/lora-variables.ts';
import { warmupCosine } from '../../src/train/schedule.ts';
import { createTrainer } from '../../src/train/trainer.ts';
import { centres } from './centres.ts';
import { LORA_RANK, TASKS } from './geometry.ts';
import { lessonFor } from './lessons.ts';
import { MATERIAL_FOLDER, readMaterial } from './material.ts';
import { restoreState, saveState } from './train-state.ts';

const USAGE = `node --import tsx scripts/default-model/train-adapters.ts [options]

Trains the task adapters on the frozen base that export.ts --base wrote, or on the one that ships. One that is done is not
trained again; stopped (Ctrl-C), it goes on where it was.

  --model DIR       (default: weights/default)
  --tasks A,B       (default: all)
  --updates N       of each adapter (default: 600)
  --rate X          peak learning rate (default: 0.002)
  --seed N          (default: 1)
  --device NAME     (default: tensorflow)
  --material DIR    (default: ${MATERIAL_FOLDER})
`;

const SAVE_EVERY_MS = 120_000;

// What an emoji or a label is like must be found from nothing or move far; the LoRA only leans on the base.
const rateOf = (name: string): number => (name.startsWith('prototypes of') ? 10 : 1);

async function trainAdapters(): Promise<void> {
  const { values } = parseArgs({
    options: {
      model: { type: 'string', default: 'weights/default' },
      tasks: { type: 'string', default: TASKS.join() },
      updates: { type: 'string', default: '600' },
      rate: { type: 'string', default: '0.002' },
      seed: { type: 'string', default: '1' },
      device: { type: 'string', default: 'tensorflow' },
      material: { type: 'string', default: MATERIAL_FOLDER },
      help: { type: 'boolean', default: false },
    },
  });
  const terminal = openTerminal();
  if (values.help) return terminal.print(USAGE);
  const material = await readMaterial(values.material);
  const total = Number(values.updates);
  const seed = Number(values.seed);
  using jina = await JinaEmbeddings.load(values.model, {
    device: values.device as DeviceName,
    residence: 'float32',
    adapters: null,
  });
  const { model } = jina;
  const run = join(values.material, 'run');
  await mkdir(run, { recursive: true });
  const looking = await terminal.progress('centres of the base', (done) => `${done}`);
  const begin = await centres(jina, material, (done) => looking.update(done, done));
  looking.stop();
  const stop = new AbortController();
  process.once('SIGINT', () => stop.abort());
  process.once('SIGTERM', () => stop.abort());
  for (const task of TASKS.filter((t) => values.tasks.split(',').includes(t))) {
    if (stop.signal.aborted) break;
    const state = join(run, `${task}.safetensors`);
    const trainable = loraVariables(model, {
      name: task,
      rank: LORA_RANK,
      seed,
      targets: (name) => name.startsWith('model.layers.') || name.startsWith('multi_vector_projector'),
    });
    const { own, batch, dispose } = await lessonFor(task, material, begin, seed);
    const variables = new Map([...trainable.variables, ...own]);
    const trainer = createTrainer({
      config: model.config,
      trainable: { ...trainable, variables },
      rate: warmupCosine({ peak: Number(values.rate), warmup: Math.ceil(total / 20), total }),
      optimizer: { rateOf },
    });
    const { optimizer } = trainer;
    await restoreState(state, variables, optimizer);
    const save = () => saveState(state, variables, optimizer, { seed: values.seed });
    const bar = await terminal.progress(task, (done, all) => `${done}/${all}`);
    let saved = performance.now();
    while (optimizer.updates < total && !stop.signal.aborted) {
      const report = await trainer.step(batch(optimizer.updates));
      bar.update(optimizer.updates, total);
      const line = `${JSON.stringify({ ...report, ms: Date.now() })}\n`;
      await appendFile(join(run, `${task}.jsonl`), line);
      if (performance.now() - saved < SAVE_EVERY_MS) continue;
      await save();
      saved = performance.now();
    }
    await save();
    bar.stop();
    trainer.dispose();
    dispose();
    trainable.dispose();
  }
  if (stop.signal.aborted) process.exitCode = 130;
}

trainAdapters().catch((error: Error) => {
  printError(error.message);
  process.exitCode = 1;
});
