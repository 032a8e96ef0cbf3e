import * as tf from '@tensorflow/tfjs-core';
import { Command } from 'commander';
import { cumulate, type LoraTerm, type Matrix, matrixStore } from '../kernels/index.ts';
import { isIntegers, type Words } from '../kernels/linear/weight-layouts.ts';
import { type DecoderBlock, decoderBlock, decoderBlockSpec } from '../src/decoder/block.ts';
import type { BackendName } from '../src/device-engine.ts';
import type { Linear } from '../src/layers/linear.ts';
import { disposeRotary, type Rotary } from '../src/layers/rotary.ts';
import { mapLinears } from '../src/params.ts';
import { rawMatrix, WORDS } from '../test/support/matrices.ts';
import { values } from './kernel-cases.ts';
import { geometryNamed } from './make-checkpoint/geometries.ts';
import {
  busyCores,
  checkClose,
  dispatchesOf,
  finished,
  inTurns,
  printLine,
  startBackend,
} from './measure.ts';
import { blockConfig, randomBlock, textRotary } from './random-block.ts';

// node --import tsx bench/mixed.bench.ts --device wasm --weights bfloat16
// Inputs of several adapters through a decoder block: in one pass, each term for its rows, and in a pass for each adapter.

const flags = new Command('mixed.bench')
  .option('--device <name>', 'tensorflow, webgpu, wasm or cpu', 'wasm')
  .option('--threads <n>', 'threads of wasm', Number, 2)
  .option('--geometry <name>', 'as in make-checkpoint', 'published')
  .option('--adapters <list>', 'how many', '2,3')
  .option('--tokens <list>', 'of each adapter', '4,16,64')
  .option('--runs <n>', 'timed runs of a case', Number, 9)
  .option('--weights <words>', WORDS.join(', '), 'bfloat16')
  .parse()
  .opts<{
    device: BackendName;
    threads: number;
    geometry: string;
    adapters: string;
    tokens: string;
    runs: number;
    weights: Words;
  }>();

const ALLOWED = 1e-5; // of the largest value of the result
const where = await startBackend(flags.device, flags.threads);
const config = blockConfig(flags.geometry);
const { rank } = geometryNamed(flags.geometry).lora;
const make = (words: Words, values: Float32Array, outSize: number, inSize: number): Matrix =>
  matrixStore().packed(rawMatrix(values, words, outSize, inSize));
const loraWords = isIntegers(flags.weights) ? 'bfloat16' : flags.weights;
const block = randomBlock(
  decoderBlockSpec('model.layers.0', config.decoder),
  rank,
  (v, outSize, inSize, of) => make(of === 'map' ? flags.weights : loraWords, v, outSize, inSize),
);
const counts = flags.adapters.split(',').map(Number);
/** Terms of each map, one an adapter. */
const terms = new Map<string, readonly LoraTerm[]>();
mapLinears(block, (l) => {
  const others = Array.from({ length: Math.max(...counts) - 1 }, (_, i) => termOf(l, i + 1));
  terms.set(l.name, [...l.lora, ...others]);
  return l;
});
for (const adapters of counts)
  for (const word of flags.tokens.split(',')) await benchMixed(adapters, Number(word));
process.exit(); // Dawn's threads hold the process

function termOf({ name, weight: { inSize, outSize } }: Linear, i: number): LoraTerm {
  const matrix = (what: string, rows: number, columns: number) =>
    make(loraWords, values(`${name}.${what}${i}`, rows * columns, 0.5 / Math.sqrt(columns)), rows, columns);
  return { a: matrix('a', rank, inSize), b: matrix('b', outSize, rank), scale: 1, activation: 'none' };
}

/** The block with these terms of each map. */
function withTerms(of: (all: readonly LoraTerm[]) => readonly LoraTerm[]): DecoderBlock {
  return mapLinears(block, (l) => ({ ...l, lora: of(terms.get(l.name) ?? []) }));
}

async function benchMixed(adapters: number, tokens: number): Promise<void> {
  const D = config.decoder.hiddenSize;
  const all = Array.from({ length: adapters }, (_, i) => i);
  const x = tf.tensor2d(values('x', adapters * tokens * D), [adapters * tokens, D]);
  const parts = tf.split<tf.Tensor2D>(x, adapters);
  const rotary = textRotary(tokens, config);
  const joined: Rotary = {
    cos: tf.tile(rotary.cos, [adapters, 1]),
    sin: tf.tile(rotary.sin, [adapters, 1]),
  };
  const one = withTerms((of) =>
    of.slice(0, adapters).map((term, i) => ({ ...term, rows: { begin: i * tokens, end: (i + 1) * tokens } })),
  );
  const each = all.map((i) => withTerms((of) => of.slice(i, i + 1)));
  const together = () => decoderBlock(one, x, joined, config.decoder, cumulate(all.map(() => tokens)));
  const apart = () =>
    tf.tidy(() =>
      tf.concat(
        each.map((b, i) => decoderBlock(b, parts[i], rotary, config.decoder, cumulate([tokens]))),
        0,
      ),
    );
  const [found, expected] = [together(), apart()];
  const what = `${adapters} adapters, ${tokens} tokens each, ${flags.geometry}, ${flags.weights}`;
  const error = checkClose(what, await found.data(), await expected.data(), ALLOWED);
  tf.dispose([found, expected]);
  const dispatches = dispatchesOf({ together, apart });
  await finished(together);
  const busy = await busyCores();
  const times = await inTurns(
    { together: () => finished(together), apart: () => finished(apart) },
    { warmUp: 1, runs: flags.runs },
  );
  tf.dispose([x, parts]);
  for (const tables of [rotary, joined]) disposeRotary(tables);
  const line = {
    bench: 'mixed',
    case: what,
    ms: times.together.ms,
    best: times.together.best,
    apartMs: times.apart.ms,
    apartBest: times.apart.best,
    ratio: times.apart.ms / times.together.ms,
    ...(dispatches && { dispatches: dispatches.together, dispatchesApart: dispatches.apart }),
    error,
    busyCores: Math.max(busy, await busyCores()),
  };
  printLine(line, where);
}
