import { appendFile, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { openTerminal, printError, type Terminal } from '../../src/cli/terminal.ts';
import type { DeviceName } from '../../src/config.ts';
import { JinaEmbeddings } from '../../src/platform/node.ts';
import { loraVariables } from '../../src/train/lora-variables.ts';
import { warmupCosine } from '../../src/train/schedule.ts';
import { createTrainer } from '../../src/train/trainer.ts';
import { centres } from './centres.ts';
import { LORA_RANK, TASKS, WIDTH } from './geometry.ts';
import { COURSES, lessonFor } from './lessons.ts';
import { MATERIAL_FOLDER, type Material, readMaterial } from './material.ts';
import { restoreState, saveState } from './train-state.ts';
import { readValues } from './write-model.ts';

const USAGE = `node --import tsx scripts/default-model/train-adapters.ts [options]

Trains the task adapters on the frozen base that export.ts --base wrote, or on the one that ships. One that is done is not
trained again; stopped (Ctrl-C), it goes on where it was.

  --model DIR       (default: weights/default)
  --tasks A,B       (default: all)
  --updates N       of each adapter (default: by task, lessons.ts)
  --rate X          peak learning rate (default: by task)
  --seed N          (default: 1)
  --device NAME     (default: tensorflow)
  --material DIR    (default: ${MATERIAL_FOLDER})
`;

const SAVE_EVERY_MS = 120_000;

// What an emoji or a label is like must be found from nothing or move far; the LoRA only leans on the base.
const rateOf = (name: string): number => (name.startsWith('prototypes of') ? 10 : 1);

/** The prototypes that the base was trained with, where its run is here; else what its checkpoint tells. */
async function placesOfEmoji(
  jina: JinaEmbeddings,
  material: Material,
  run: string,
  terminal: Terminal,
): Promise<readonly Float32Array[]> {
  const state = await readValues(join(run, 'base.safetensors')).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null;
    throw error;
  });
  const learned = state?.get('prototypes');
  if (learned) return material.corpus.emoji.map((_, i) => learned.subarray(i * WIDTH, (i + 1) * WIDTH));
  const bar = await terminal.progress('where the base has each emoji', (done) => `${done}`);
  const found = await centres(jina, material, (done) => bar.update(done, done));
  bar.stop();
  return found;
}

async function trainAdapters(): Promise<void> {
  const { values } = parseArgs({
    options: {
      model: { type: 'string', default: 'weights/default' },
      tasks: { type: 'string', default: TASKS.join() },
      updates: { type: 'string' },
      rate: { type: 'string' },
      seed: { type: 'string', default: '1' },
      device: { type: 'string', default: 'tensorflow' },
      material: { type: 'string', default: MATERIAL_FOLDER },
      help: { type: 'boolean', default: false },
    },
  });
  const terminal = openTerminal();
  if (values.help) return terminal.print(USAGE);
  const material = await readMaterial(values.material);
  const seed = Number(values.seed);
  using jina = await JinaEmbeddings.load(values.model, {
    device: values.device as DeviceName,
    residence: 'float32',
    adapters: null,
  });
  const { model } = jina;
  const run = join(values.material, 'run');
  await mkdir(run, { recursive: true });
  const places = await placesOfEmoji(jina, material, run, terminal);
  const stop = new AbortController();
  process.once('SIGINT', () => stop.abort());
  process.once('SIGTERM', () => stop.abort());
  for (const task of TASKS.filter((t) => values.tasks.split(',').includes(t))) {
    if (stop.signal.aborted) break;
    const state = join(run, `${task}.safetensors`);
    const total = Number(values.updates ?? COURSES[task].updates);
    const peak = Number(values.rate ?? COURSES[task].rate);
    const trainable = loraVariables(model, {
      name: task,
      rank: LORA_RANK,
      seed,
      targets: (name) => name.startsWith('model.layers.') || name.startsWith('multi_vector_projector'),
    });
    const { own, batch, dispose } = await lessonFor(task, material, places, seed);
    const variables = new Map([...trainable.variables, ...own]);
    const trainer = createTrainer({
      config: model.config,
      trainable: { ...trainable, variables },
      rate: warmupCosine({ peak, warmup: Math.ceil(total / 20), total }),
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
