import * as tf from '@tensorflow/tfjs-core';
import { Command } from 'commander';
import { create, globals } from 'webgpu';
import { registerBodies } from '../kernels/bodies.ts';
import { cumulate, matrixStore } from '../kernels/index.ts';
import { decoderBlock, decoderBlockSpec } from '../src/decoder/block.ts';
import { gpuIdle, KEPT_BYTES, startWebGpu, takeGpuErrors, trimBufferPool } from '../src/device-webgpu.ts';
import { disposeRotary } from '../src/layers/rotary.ts';
import { narrowToBf16 } from '../weights/narrow.ts';
import { values } from './kernel-cases.ts';
import { geometryNamed } from './make-checkpoint/geometries.ts';
import { busyCores, dispatchesOf, printLine, timesOf } from './measure.ts';
import { blockConfig, randomBlock, textRotary } from './random-block.ts';

// node --import tsx bench/recording.bench.ts
// What a decoder block costs the host on WebGPU: recording its dispatches and submitting them. The device is Dawn's null one,
// which validates everything and computes nothing, so no GPU is waited for, and no emulated one takes the cores.
// Nothing is computed, so nothing can be verified here: that the same calls compute the block is verified by blocks.bench.ts.

const flags = new Command('recording.bench')
  .option('--geometry <name>', 'as in make-checkpoint; host time hardly depends on sizes', 'small')
  .option('--layers <n>', 'blocks of a pass, each with weights of its own', Number, 36)
  .option('--tokens <list>', 'lengths of the sequence', '16,64,512')
  .option('--runs <n>', 'timed passes of a case', Number, 60)
  .parse()
  .opts<{ geometry: string; layers: number; tokens: string; runs: number }>();

const WARM_UP = 20; // passes: the code has been compiled and every bind group has been made once
const LIMIT = 0.25; // milliseconds a block

const where = await startNullDevice();
const config = blockConfig(flags.geometry);
const { rank } = geometryNamed(flags.geometry).lora;
const blocks = Array.from({ length: flags.layers }, (_, i) =>
  randomBlock(decoderBlockSpec(`model.layers.${i}`, config.decoder), rank, (floats, outSize, inSize) =>
    matrixStore().packed({
      bytes: new Uint8Array(narrowToBf16(floats).buffer),
      dtype: 'BF16',
      outSize,
      inSize,
    }),
  ),
);
for (const word of flags.tokens.split(',')) await benchRecording(Number(word));
process.exit(); // Dawn's threads hold the process

async function benchRecording(T: number): Promise<void> {
  const { hiddenSize } = config.decoder;
  const input = tf.tensor2d(values('x', T * hiddenSize), [T, hiddenSize]);
  const rotary = textRotary(T, config);
  const segments = cumulate([T]);
  const pass = (): tf.Tensor2D => {
    let x = tf.clone(input);
    for (const block of blocks) {
      const y = decoderBlock(block, x, rotary, config.decoder, segments);
      x.dispose();
      x = y;
    }
    return x;
  };
  const dispatches = (dispatchesOf({ pass })?.pass ?? 0) / blocks.length;
  const busy = await busyCores();
  const wall: number[] = [];
  const cpu: number[] = [];
  for (let run = -WARM_UP; run < flags.runs; run++) {
    const usage = process.cpuUsage();
    const began = performance.now();
    const y = pass();
    const ms = performance.now() - began;
    const { user, system } = process.cpuUsage(usage);
    y.dispose();
    await gpuIdle();
    trimBufferPool(KEPT_BYTES); // as at the end of a call
    if (run < 0) continue;
    wall.push(ms / blocks.length);
    cpu.push((user + system) / 1000 / blocks.length);
  }
  tf.dispose(input);
  disposeRotary(rotary);
  const errors = takeGpuErrors();
  if (errors.length > 0) throw new Error(`the device refused what was recorded: ${errors.join('; ')}`);
  const { ms, best } = timesOf(wall);
  printLine(
    {
      bench: 'recording',
      case: `decoder block, ${flags.geometry}, ${T} tokens, LoRA on, bfloat16`,
      ms,
      best,
      cpuMs: timesOf(cpu).ms, // all threads of the process: other work on the machine does not count here
      allowedMs: LIMIT,
      dispatches,
      usPerDispatch: (1000 * ms) / dispatches,
      busyCores: busy,
    },
    where,
  );
}

async function startNullDevice() {
  const gpu = create(['backend=null', 'enable-dawn-features=allow_unsafe_apis']);
  Object.assign(globalThis, globals);
  if (globalThis.navigator === undefined)
    Object.defineProperty(globalThis, 'navigator', { value: {}, configurable: true });
  Object.defineProperty(globalThis.navigator, 'gpu', { value: gpu, configurable: true });
  const adapter = await gpu.requestAdapter();
  if (!adapter) throw new Error('this Dawn has no null device');
  const { detail } = await startWebGpu(adapter);
  await tf.setBackend('webgpu');
  await registerBodies('webgpu');
  return { backend: 'webgpu', engine: detail };
}
