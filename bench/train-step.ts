// Time of one training step: npx tsx bench/train-step.ts [backend] [repeats] [lora|weights]
import * as tf from '@tensorflow/tfjs-core';
import { DeviceManager } from '../src/device.ts';
import type { BackendName } from '../src/device-engine.ts';
import { nodeEngines } from '../src/platform/engines-node.ts';
import { loraVariables } from '../src/train/lora-variables.ts';
import { infoNce } from '../src/train/losses/info-nce.ts';
import { Random } from '../src/train/random.ts';
import type { TrainInput } from '../src/train/train-input.ts';
import { createTrainer } from '../src/train/trainer.ts';
import { freshVariables } from '../src/train/weight-variables.ts';
import { geometryConfig } from '../test/support/geometries.ts';

// 4 decoder blocks of width 192 and 4 vision blocks; 64 texts of about 12 tokens with 64 images of 56×56 px.
const config = geometryConfig({
  hidden: 192,
  layers: 4,
  heads: 6,
  kvHeads: 2,
  mlp: 512,
  vocab: 8192,
  vision: { depth: 4, hidden: 192, mlp: 512, heads: 6, fullatt: [1, 3] },
});
const [backend = 'tensorflow', repeats = '5', what = 'weights'] = process.argv.slice(2);
const random = new Random(1);
const { image, visionStart, visionEnd } = config.tokens;

const text = (): TrainInput => ({
  ids: Int32Array.from({ length: 8 + Math.floor(random.uniform() * 9) }, () =>
    Math.floor(random.uniform() * 8000),
  ),
});
const picture = (): TrainInput => ({
  ids: Int32Array.from([1, 2, 3, visionStart, image, image, image, image, visionEnd, 4, 5, 6]),
  span: { begin: 3, end: 9 },
  image: { pixelValues: random.normalValues(16 * config.vision.patchValues, 1), grid: [1, 4, 4] },
});

const manager = new DeviceManager(nodeEngines());
await manager.start(await manager.select({ device: backend as BackendName }));
const fresh = await freshVariables(config);
const trainable = what === 'lora' ? loraVariables(fresh.model, { rank: 16 }) : fresh;
const trainer = createTrainer({ config, trainable, rate: 3e-4 });
const sides = [Array.from({ length: 64 }, text), Array.from({ length: 64 }, picture)];
const loss = infoNce({ temperature: 0.05, sizes: [64, 128, 192] });
const times: number[] = [];
const work: number[] = []; // processor time of all threads: tells more than the clock where others compute, too
for (let i = 0; i <= Number(repeats); i++) {
  const began = performance.now();
  const used = process.cpuUsage();
  const report = await trainer.step({ sides, loss });
  times.push(performance.now() - began);
  const { user, system } = process.cpuUsage(used);
  work.push((user + system) / 1000);
  console.error(
    `${i}: loss ${report.loss.toFixed(4)} norm ${report.norm.toFixed(3)} ${times[i].toFixed(0)} ms`,
  );
}
const sorted = times.slice(1).sort((a, b) => a - b);
const parameters = [...trainable.variables.values()].reduce((sum, v) => sum + v.size, 0);
console.log(
  JSON.stringify({
    bench: 'train-step',
    backend,
    what,
    parameters,
    best: sorted[0],
    median: sorted[sorted.length >> 1],
    cpu: Math.min(...work.slice(1)),
    tensors: tf.memory().numTensors,
  }),
);
