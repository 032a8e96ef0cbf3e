import { appendFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type * as tf from '@tensorflow/tfjs-core';
import { preprocessorConfig } from '../../bench/make-checkpoint/plan-checkpoint.ts';
import { openTerminal, printError } from '../../src/cli/terminal.ts';
import type { DeviceName } from '../../src/config.ts';
import { parsePreprocessorConfig } from '../../src/image/preprocessor-config.ts';
import { JinaEmbeddings } from '../../src/platform/node.ts';
import type { TrainBatch } from '../../src/train/gradients.ts';
import { loraVariables } from '../../src/train/lora-variables.ts';
import { warmupCosine } from '../../src/train/schedule.ts';
import { createTrainer } from '../../src/train/trainer.ts';
import { contrastBatch, sidesOf } from './contrast.ts';
import { IMAGE_SIZE, LORA_RANK, TASKS, type Task } from './geometry.ts';
import { MATERIAL_FOLDER, type Material, readMaterial } from './material.ts';
import { prototypeLoss, prototypes } from './prototypes.ts';
import { createSampler } from './sampler.ts';
import { picturePart } from './splits.ts';
import { saveState } from './train-state.ts';

const USAGE = `node --import tsx scripts/default-model/train-adapters.ts [options]

Trains the task adapters on the frozen base that export.ts --base wrote. One that is done is not trained again.

  --model DIR       (default: weights/default)
  --updates N       of each adapter (default: 200)
  --rate X          peak learning rate (default: 0.002)
  --seed N          (default: 1)
  --device NAME     (default: tensorflow)
  --material DIR    (default: ${MATERIAL_FOLDER})
`;

const TEMPERATURE = 0.1;

/** What an adapter learns from: batches, and variables of its own beside the LoRA. */
type Lesson = { readonly own: ReadonlyMap<string, tf.Variable>; batch(step: number): TrainBatch };

/**
 * retrieval: texts find pictures among those of the batch. classification, clustering: texts and pictures find their CLDR
 * sub-group, or group, of which only the emoji of the `validation` part show the label: those that are reported never do.
 */
function lessonFor(task: Task, material: Material, width: number, seed: number): Lesson {
  const sampler = (batchSize: number, only?: (code: string) => boolean) =>
    createSampler({
      ...material,
      patches: parsePreprocessorConfig(preprocessorConfig(IMAGE_SIZE ** 2)),
      batchSize,
      imageSize: IMAGE_SIZE,
      maxLength: 32,
      seed,
      only,
    });
  if (task === 'retrieval') {
    const sample = sampler(384);
    const weights = { textImage: 1, textText: 0.25 };
    return {
      own: new Map(),
      batch: (step) => contrastBatch(sample(step), material.tokenizer, { temperature: TEMPERATURE, weights }),
    };
  }
  const label = task === 'classification' ? 'subgroup' : 'group';
  const labels = [...new Set(material.corpus.emoji.map((e) => e[label]))].sort();
  const vectors = prototypes(labels.length, width, seed);
  const sample = sampler(128, (code) => picturePart(code) === 'validation');
  return {
    own: new Map([['prototypes', vectors]]),
    batch: (step) => {
      const batch = sample(step);
      const own = batch.emoji.map((i) => labels.indexOf(material.corpus.emoji[i][label]));
      return {
        sides: sidesOf(batch, material.tokenizer),
        loss: prototypeLoss(vectors, { own }, TEMPERATURE),
      };
    },
  };
}

async function trainAdapters(): Promise<void> {
  const { values } = parseArgs({
    options: {
      model: { type: 'string', default: 'weights/default' },
      updates: { type: 'string', default: '200' },
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
  for (const task of TASKS) {
    const state = join(values.material, 'run', `${task}.safetensors`);
    if (await stat(state).catch(() => null)) continue;
    const trainable = loraVariables(model, {
      name: task,
      rank: LORA_RANK,
      seed,
      targets: (name) => name.startsWith('model.layers.') || name.startsWith('multi_vector_projector'),
    });
    const { own, batch } = lessonFor(task, material, model.config.decoder.hiddenSize, seed);
    const variables = new Map([...trainable.variables, ...own]);
    const trainer = createTrainer({
      config: model.config,
      trainable: { ...trainable, variables },
      rate: warmupCosine({ peak: Number(values.rate), warmup: Math.ceil(total / 20), total }),
    });
    const bar = await terminal.progress(task, (done, all) => `${done}/${all}`);
    for (let step = 0; step < total; step++) {
      const report = await trainer.step(batch(step));
      bar.update(step + 1, total);
      const line = `${JSON.stringify({ ...report, ms: Date.now() })}\n`;
      await appendFile(join(values.material, 'run', `${task}.jsonl`), line);
    }
    bar.stop();
    await saveState(state, trainable.variables, trainer.optimizer, { seed: values.seed });
    trainer.dispose();
    for (const v of own.values()) v.dispose();
    trainable.dispose();
  }
}

trainAdapters().catch((error: Error) => {
  printError(error.message);
  process.exitCode = 1;
});
