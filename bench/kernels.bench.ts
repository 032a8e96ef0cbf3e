import * as tf from '@tensorflow/tfjs-core';
import { Command } from 'commander';
import { composed } from '../kernels/index.ts';
import type { BackendName } from '../src/device-engine.ts';
import { embeddingCase, gatedCase, headsCase, normLowCase } from './fan-cases.ts';
import {
  attentionCase,
  geluCase,
  type KernelCase,
  l2Case,
  linearCase,
  packedCase,
  poolCase,
  rmsNormCase,
  ropeCase,
  swigluCase,
} from './kernel-cases.ts';
import { busyCores, checkClose, finished, inTurns, printLine, startBackend } from './measure.ts';

// node --import tsx bench/kernels.bench.ts --device wasm
// Each op at shapes of the published model, as it runs on this backend, beside its composed truth, or what else is named, in the same run.

const flags = new Command('kernels.bench')
  .option('--device <name>', 'tensorflow, webgpu, wasm or cpu', 'wasm')
  .option('--threads <n>', 'threads of wasm', Number)
  .option('--tokens <list>', 'rows', '64')
  .option('--runs <n>', 'timed runs of a case', Number, 9)
  .option('--only <word>', 'cases whose name contains this')
  .parse()
  .opts<{ device: BackendName; threads?: number; tokens: string; runs: number; only?: string }>();

const ALLOWED = 1e-4; // of the largest value of the result
const D = 2048;
const F = 11008;
// Elsewhere a block goes map by map, and these ops are never called: composed, they take minutes on wasm.
const fans = flags.device === 'webgpu';

/** Made when their turn comes: some hold 90 MB. */
const cases = flags.tokens.split(',').flatMap((word): (() => KernelCase)[] => {
  const T = Number(word);
  return [
    () => linearCase(T, D, D),
    () => linearCase(T, D, 256),
    () => linearCase(T, D, F),
    () => linearCase(T, F, D),
    ...(['float16', 'int8', 'int4'] as const).flatMap((precision) => [
      () => packedCase(T, D, D, precision),
      () => packedCase(T, D, F, precision),
      () => packedCase(T, F, D, precision),
    ]),
    () => attentionCase([T], true),
    () => attentionCase(new Array(8).fill(T), true),
    () => attentionCase([T], false),
    ...(fans ? [() => normLowCase(T, D), () => headsCase(T, D), () => gatedCase(T, D, F)] : []),
    () => embeddingCase(T, D),
    () => rmsNormCase(T, D),
    () => swigluCase(T, F),
    () => ropeCase(T),
    () => geluCase(T, 5120),
    () => poolCase(T, D, 8),
    () => l2Case(T, 128),
  ];
});

const where = await startBackend(flags.device, flags.threads);
for (const make of cases) {
  tf.engine().startScope();
  const kernel = make();
  if (!flags.only || kernel.name.includes(flags.only)) await benchKernel(kernel);
  tf.engine().endScope();
}

async function benchKernel(kernel: KernelCase): Promise<void> {
  const error = await verify(kernel);
  const busy = await busyCores();
  const { what: yardstick, run: other } = kernel.beside ?? {
    what: 'composed',
    run: () => composed(kernel.run),
  };
  const times = await inTurns(
    {
      op: () => finished(kernel.run),
      yardstick: () => finished(other),
    },
    { runs: flags.runs },
  );
  const line = {
    bench: 'kernels',
    case: kernel.name,
    ...times.op,
    yardstick,
    yardstickMs: times.yardstick.ms,
    yardstickBest: times.yardstick.best,
    ratio: times.yardstick.ms / times.op.ms, // above 1: faster than the yardstick
    ...(kernel.flops && { gflops: kernel.flops / times.op.ms / 1e6 }),
    error,
    busyCores: busy,
  };
  printLine(line, where);
}

/** All values against the composed truth, some of them against the definition. */
async function verify({
  name,
  run,
  truth: other = () => composed(run),
  byHand,
}: KernelCase): Promise<number> {
  const [found, truth] = [run(), other()];
  const [values, expected] = [await found.data(), await truth.data()];
  const [rows, columns] = found.shape;
  tf.dispose([found, truth]);
  const error = checkClose(`${name}, composed`, values, expected, ALLOWED);
  const places = Array.from({ length: 16 }, (_, i) => [
    Math.floor((i * rows) / 16) % rows,
    (i * 997) % columns,
  ]);
  checkClose(
    `${name}, by hand`,
    places.map(([row, column]) => values[row * columns + column]),
    places.map(([row, column]) => byHand(row, column)),
    ALLOWED,
  );
  return error;
}
