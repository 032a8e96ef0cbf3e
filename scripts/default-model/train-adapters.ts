import { appendFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import * as tf from '@tensorflow/tfjs-core';
import { preprocessorConfig } from '../../bench/make-checkpoint/plan-checkpoint.ts';
import { openTerminal, printError } from '../../src/cli/terminal.ts';
import type { DeviceName } from '../../src/config.ts';
import { parsePreprocessorConfig } from '../../src/image/preprocessor-config.ts';
import { JinaEmbeddings } from '../../src/platform/node.ts';
import type { TrainBatch } from '../../src/train/gradients.ts';
import { loraVariables } from '../../src/train/lora-variables.ts';
import { warmupCosine } from '../../src/train/schedule.ts';
import { createTrainer } from '../../src/train/trainer.ts';
import { variableOf } from '../../src/train/variables.ts';
import { lesson } from './contrast.ts';
import { IMAGE_SIZE, LORA_RANK, TASKS, type Task, WIDTH } from './geometry.ts';
import { MATERIAL_FOLDER, type Material, readMaterial } from './material.ts';
import { meanings } from './meanings.ts';
import { directionLoss, prototypeLoss, prototypes } from './prototypes.ts';
import { createSampler } from './sampler.ts';
import { picturePart } from './splits.ts';
import { saveState } from './train-state.ts';
import { readValues } from './write-model.ts';

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
type Lesson = {
  readonly own: ReadonlyMap<string, tf.Variable>;
  batch(step: number): TrainBatch;
  dispose(): void;
};

// A classifier weighs directions by itself: it gets all that the base knows, and labels stand out. k-means counts every direction
// alike, so its vectors have few, and nothing of the base's.
const LABELLED = {
  classification: { label: 'subgroup', width: WIDTH, labels: 1, kept: 1 },
  clustering: { label: 'group', width: 40, labels: 0.3, kept: 0 },
} as const;

/**
 * retrieval: names find their emoji among all, and its picture among those of the batch, with the base's prototypes.
 * classification, clustering: they move towards what their emoji means (`meanings`), and find their CLDR
 * sub-group, or group, of which only the emoji of the `validation` part show the label: those that are reported never do.
 */
async function lessonFor(task: Task, material: Material, run: string, seed: number): Promise<Lesson> {
  const { corpus, tokenizer } = material;
  const sample = createSampler({
    ...material,
    patches: parsePreprocessorConfig(preprocessorConfig(IMAGE_SIZE ** 2)),
    batchSize: 384,
    imageSize: IMAGE_SIZE,
    maxLength: 32,
    seed,
    namesOnly: task === 'retrieval',
    calm: task !== 'clustering',
  });
  const learned = (await readValues(join(run, 'base.safetensors'))).get('prototypes')!;
  const base = variableOf(tf.tensor2d(learned, [corpus.emoji.length, WIDTH]));
  if (task === 'retrieval') {
    return {
      own: new Map(),
      batch: (step) => lesson(sample(step), tokenizer, base, TEMPERATURE),
      dispose: () => base.dispose(),
    };
  }
  const { label, width, ...weight } = LABELLED[task];
  const labels = [...new Set(corpus.emoji.map((e) => e[label]))].sort();
  const vectors = prototypes(labels.length, WIDTH, seed);
  const targets = await meanings(corpus, width, seed);
  return {
    own: new Map([['prototypes', vectors]]),
    batch: (step) => {
      const batch = sample(step);
      const own = batch.emoji.map((i) => {
        const emoji = corpus.emoji[i];
        return picturePart(emoji.code) === 'validation' ? labels.indexOf(emoji[label]) : -1;
      });
      const meant = new Float32Array(batch.emoji.length * WIDTH); // zeros after the width of a meaning
      batch.emoji.forEach((i, row) => {
        meant.set(targets[i], row * WIDTH);
      });
      const named = prototypeLoss(vectors, { own }, TEMPERATURE);
      const { sides, loss: kept } = lesson(batch, tokenizer, base, TEMPERATURE);
      return {
        sides,
        loss: {
          name: 'meanings and labels',
          multi: false,
          compute: (sides) =>
            tf.tidy(() => {
              const terms = [
                directionLoss(tf.tensor2d(meant, [batch.emoji.length, WIDTH])).compute(sides),
                tf.mul(weight.labels, named.compute(sides)),
                ...(weight.kept > 0 ? [tf.mul(weight.kept, kept.compute(sides))] : []),
              ];
              return tf.addN(terms) as tf.Scalar;
            }),
        },
      };
    },
    dispose: () => tf.dispose([vectors, base]),
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
  const run = join(values.material, 'run');
  for (const task of TASKS) {
    const state = join(run, `${task}.safetensors`);
    if (await stat(state).catch(() => null)) continue;
    const trainable = loraVariables(model, {
      name: task,
      rank: LORA_RANK,
      seed,
      targets: (name) => name.startsWith('model.layers.') || name.startsWith('multi_vector_projector'),
    });
    const { own, batch, dispose } = await lessonFor(task, material, run, seed);
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
      await appendFile(join(run, `${task}.jsonl`), line);
    }
    bar.stop();
    await saveState(state, trainable.variables, trainer.optimizer, { seed: values.seed });
    trainer.dispose();
    dispose();
    trainable.dispose();
  }
}

trainAdapters().catch((error: Error) => {
  printError(error.message);
  process.exitCode = 1;
});
