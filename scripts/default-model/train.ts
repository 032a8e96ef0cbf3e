import { appendFile, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import * as tf from '@tensorflow/tfjs-core';
import { preprocessorConfig } from '../../bench/make-checkpoint/plan-checkpoint.ts';
import { openTerminal, printError } from '../../src/cli/terminal.ts';
import type { DeviceName } from '../../src/config.ts';
import { DeviceManager } from '../../src/device.ts';
import { parsePreprocessorConfig } from '../../src/image/preprocessor-config.ts';
import { parseModelConfig } from '../../src/model-config.ts';
import { nodeEngines } from '../../src/platform/engines-node.ts';
import { warmupCosine } from '../../src/train/schedule.ts';
import { createTrainer } from '../../src/train/trainer.ts';
import { freshVariables } from '../../src/train/weight-variables.ts';
import { lesson } from './contrast.ts';
import { defaultConfig, IMAGE_SIZE } from './geometry.ts';
import { MATERIAL_FOLDER, readMaterial } from './material.ts';
import { prototypes } from './prototypes.ts';
import { createSampler } from './sampler.ts';
import { restoreState, saveState } from './train-state.ts';

const USAGE = `node --import tsx scripts/default-model/train.ts [options]

Trains all weights of the default model from scratch, on what prepare.ts made. Stopped (Ctrl-C), it goes on where it was.

  --updates N       of the whole run (default: 6940); the rate falls to zero at the last
  --batch N         emoji of an update, each with a text and a picture (default: 384)
  --rate X          peak learning rate (default: 0.001)
  --from N          update at which the rate begins anew, from a run that had ended there (default: 0)
  --seed N          (default: 1)
  --device NAME     (default: tensorflow)
  --material DIR    (default: ${MATERIAL_FOLDER})
`;

const LOUD = 4; // words of deviation 0.08
const TEMPERATURE = 0.1;
const SAVE_EVERY_MS = 120_000;

async function train(): Promise<void> {
  const { values } = parseArgs({
    options: {
      updates: { type: 'string', default: '6940' },
      batch: { type: 'string', default: '384' },
      rate: { type: 'string', default: '0.001' },
      from: { type: 'string', default: '0' },
      seed: { type: 'string', default: '1' },
      device: { type: 'string', default: 'tensorflow' },
      material: { type: 'string', default: MATERIAL_FOLDER },
      help: { type: 'boolean', default: false },
    },
  });
  const terminal = openTerminal();
  if (values.help) return terminal.print(USAGE);
  const total = Number(values.updates);
  const seed = Number(values.seed);
  const material = await readMaterial(values.material);
  const manager = new DeviceManager(nodeEngines());
  await manager.start(await manager.select({ device: values.device as DeviceName }));

  const { tokenizer } = material;
  const config = parseModelConfig(defaultConfig(tokenizer.vocabSize, (word) => tokenizer.specialId(word)));
  const trainable = await freshVariables(config, { seed });
  const vectors = prototypes(material.corpus.emoji.length, config.decoder.hiddenSize, seed);
  const variables = new Map([...trainable.variables, ['prototypes', vectors]]);
  balance(trainable.variables, config.decoder.numHiddenLayers);
  const from = Number(values.from);
  const rate = warmupCosine({ peak: Number(values.rate), warmup: 100, total: total - from });
  const trainer = createTrainer({
    config,
    trainable: { ...trainable, variables },
    rate: (update) => rate(update - from),
    optimizer: { weightDecay: 0.01, beta2: 0.99, rateOf },
  });
  const folder = join(values.material, 'run');
  await mkdir(folder, { recursive: true });
  const state = join(folder, 'base.safetensors');
  const before = await restoreState(state, variables, trainer.optimizer);
  let hours = Number(before?.hours ?? 0);
  const sample = createSampler({
    ...material,
    patches: parsePreprocessorConfig(preprocessorConfig(IMAGE_SIZE ** 2)),
    batchSize: Number(values.batch),
    imageSize: IMAGE_SIZE,
    maxLength: 32,
    seed,
  });

  const stop = new AbortController();
  process.once('SIGINT', () => stop.abort());
  process.once('SIGTERM', () => stop.abort());
  const bar = await terminal.progress('training', (done, all) => `${done}/${all}`);
  let saved = performance.now();
  let began = saved;
  const save = async () => {
    hours += (performance.now() - began) / 3.6e6;
    began = saved = performance.now();
    await saveState(state, variables, trainer.optimizer, {
      seed: values.seed,
      hours: String(hours),
    });
  };
  while (trainer.optimizer.updates < total && !stop.signal.aborted) {
    const at = trainer.optimizer.updates;
    const batch = sample(at);
    const report = await trainer.step(lesson(batch, tokenizer, vectors, TEMPERATURE));
    bar.update(at + 1, total);
    await appendFile(join(folder, 'base.jsonl'), `${JSON.stringify({ ...report, ms: Date.now() })}\n`);
    if (performance.now() - saved > SAVE_EVERY_MS) await save();
  }
  await save();
  bar.stop();
  trainer.dispose();
  vectors.dispose();
  trainable.dispose();
  if (stop.signal.aborted) process.exitCode = 130;
}

// A word is in few batches and a prototype moves the length of a whole vector, so both learn faster than what all inputs share.
const rateOf = (name: string): number =>
  name === 'prototypes' ? 30 : name.endsWith('embed_tokens.weight') ? 10 : 1;

/**
 * Weights of deviation 0.02 in a narrow model: words would drown in what attention makes of them, and every text start as the
 * same vector. So words are loud, and what writes to the stream is quiet (Radford et al. 2019 for the second).
 */
function balance(variables: ReadonlyMap<string, tf.Variable>, layers: number): void {
  for (const [name, v] of variables) {
    const table = name.endsWith('embed_tokens.weight');
    const writer = /\.(?:o_proj|down_proj|attn\.proj)\.weight$/.test(name);
    if (table || writer) tf.tidy(() => v.assign(tf.mul(v, table ? LOUD : 1 / Math.sqrt(2 * layers))));
  }
}

train().catch((error: Error) => {
  printError(error.message);
  process.exitCode = 1;
});
