import * as tf from '@tensorflow/tfjs-core';
import { Command } from 'commander';
import type { BackendName } from '../src/device-engine.ts';
import { roundMap } from '../src/quantize/round-map.ts';
import { decodeRows, encodeRows, type PackedRows } from '../weights/quantization.ts';
import { valueStream } from './make-checkpoint/random-values.ts';
import { busyCores, printLine, startBackend } from './measure.ts';

// node --import tsx bench/round-map.bench.ts --device tensorflow --in 11008 --out 2048
// One linear map in int4 rounded for its inputs (GPTQ): the time, and the output error beside that of rounding to the nearest.

const flags = new Command('round-map.bench')
  .option('--device <name>', 'tensorflow, wasm or cpu', 'tensorflow')
  .option('--in <n>', 'inputs of the map', Number, 2048)
  .option('--out <n>', 'its outputs', Number, 2048)
  .parse()
  .opts<{ device: BackendName; in: number; out: number }>();

const where = await startBackend(flags.device);
const { in: inSize, out: outSize } = flags;
const normal = (name: string, rows: number, columns: number, std: number): tf.Tensor2D => {
  const values = new Float32Array(rows * columns);
  valueStream(1, name, { mean: 0, std }, 'F32')(new Uint32Array(values.buffer));
  return tf.tensor2d(values, [rows, columns]);
};
const weight = normal('weight', inSize, outSize, 0.02);
const ROWS = 2048;
const x = tf.tidy(() => {
  const few = normal('few', ROWS, 64, 1); // directions that most inputs share
  const mixed = tf.matMul(few, normal('mixed', 64, inSize, 0.2));
  return tf.add<tf.Tensor2D>(mixed, normal('own', ROWS, inSize, 1));
});
const rows = tf.tidy(() => tf.transpose(weight).dataSync()) as Float32Array;

/** ‖X (W − Ŵ)‖ / ‖X W‖ */
function outputError(packed: PackedRows): number {
  const found = new Float32Array(rows.length);
  decodeRows('int4', packed, inSize, found);
  return tf.tidy(() => {
    const change = tf.sub<tf.Tensor2D>(weight, tf.transpose(tf.tensor2d(found, [outSize, inSize])));
    return tf.div(tf.norm(tf.matMul(x, change)), tf.norm(tf.matMul(x, weight))).dataSync()[0];
  });
}

const busy = await busyCores();
const nearest = outputError(encodeRows('int4', rows, inSize));
const began = performance.now();
const gram: tf.Tensor2D = tf.matMul(x, x, true);
await gram.data();
const gramMs = performance.now() - began;
const packed = await roundMap(weight, gram);
const ms = performance.now() - began;
const error = outputError(packed);
if (!(error < nearest)) throw new Error(`wrong: an output error of ${error}, to the nearest ${nearest}`);
printLine(
  {
    bench: 'round-map',
    case: `${inSize} → ${outSize}`,
    rows: ROWS,
    gramMs,
    seconds: ms / 1000,
    outputError: Number(error.toFixed(5)),
    outputErrorNearest: Number(nearest.toFixed(5)),
    peakMb: process.resourceUsage().maxRSS / 1024,
    busyCores: busy,
  },
  { backend: flags.device, engine: where.engine },
);
