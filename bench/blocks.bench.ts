import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import * as tf from '@tensorflow/tfjs-core';
import { Command } from 'commander';
import { composed, cumulate, float32Matrix, type Matrix, matrixStore } from '../kernels/index.ts';
import type { RawMatrix } from '../kernels/linear/matrix-store.ts';
import { isIntegers, type Words } from '../kernels/linear/weight-layouts.ts';
import { decoderBlock, decoderBlockSpec } from '../src/decoder/block.ts';
import type { BackendName } from '../src/device-engine.ts';
import { disposeRotary } from '../src/layers/rotary.ts';
import type { DecoderConfig } from '../src/model-config.ts';
import { defaultModelPath, JinaEmbeddings } from '../src/platform/node.ts';
import { rawMatrix, valuesOf, WORDS } from '../test/support/matrices.ts';
import { values } from './kernel-cases.ts';
import { geometryNamed } from './make-checkpoint/geometries.ts';
import {
  busyCores,
  checkClose,
  dispatchesOf,
  finished,
  inTurns,
  printLine,
  QUIET,
  startBackend,
  timesOf,
  type Where,
} from './measure.ts';
import { blockConfig, type MakeMatrix, randomBlock, textRotary } from './random-block.ts';

// node --import tsx bench/blocks.bench.ts --device tensorflow --python python3
// One decoder block with a LoRA on, beside its composed truth and (with --python) the same block in PyTorch float32, in turns.

const flags = new Command('blocks.bench')
  .option('--device <name>', 'tensorflow, webgpu, wasm or cpu', 'wasm')
  .option('--threads <n>', 'threads of wasm and of PyTorch', Number, 2)
  .option('--geometry <name>', 'as in make-checkpoint', 'published')
  .option('--tokens <list>', 'lengths of the sequence', '16,64,512')
  .option('--runs <n>', 'timed runs of a case', Number, 9)
  .option('--warm-up <n>', 'runs before them, besides the one that is verified', Number, 2)
  .option(
    '--weights <words>',
    'float32, bfloat16, float16, int8 or int4, as the backend keeps them; a LoRA beside integers is bfloat16',
    'float32',
  )
  .option('--python <path>', 'a Python with torch: verifies with it, and times it too')
  .option(
    '--ort <folder>',
    'onnxruntime-web or -node: times its bare matrix products too (published geometry)',
  )
  .parse()
  .opts<{
    device: BackendName;
    threads: number;
    geometry: string;
    tokens: string;
    runs: number;
    warmUp: number;
    weights: Words;
    python?: string;
    ort?: string;
  }>();

const ALLOWED = 1e-4; // of the largest value of the result
const ROUNDS = 3; // of this engine, then the other: a burst of other work on the machine does not meet only one of them

if (!WORDS.includes(flags.weights))
  throw new Error(`--weights ${flags.weights} is none of ${WORDS.join(', ')}`);
const where = await startBackend(flags.device, flags.threads);
const geometry = geometryNamed(flags.geometry);
const config = blockConfig(flags.geometry);
if (flags.python) await verifyWithPython(flags.python, where);
const spec = decoderBlockSpec('model.layers.0', config.decoder);
const block = randomBlock(spec, geometry.lora.rank, stored);
const truth = randomBlock(spec, geometry.lora.rank, asTensor);
for (const word of flags.tokens.split(',')) await benchBlock(Number(word));

async function benchBlock(T: number): Promise<void> {
  const x = tf.tensor2d(values('x', T * config.decoder.hiddenSize), [T, config.decoder.hiddenSize]);
  const rotary = textRotary(T, config);
  const run = () => decoderBlock(block, x, rotary, config.decoder, cumulate([T]));
  const stock = () => composed(() => decoderBlock(truth, x, rotary, config.decoder, cumulate([T])));
  const [found, expected] = [run(), stock()];
  const error = checkClose(`block, ${T} tokens`, await found.data(), await expected.data(), ALLOWED);
  tf.dispose([found, expected]);
  const dispatches = dispatchesOf({ op: run, composed: stock });
  await finished(run); // a GPU still has those to do, and would look busy with other work
  const ours: number[] = [];
  const slow: number[] = [];
  const torch: number[] = [];
  const ort: number[] = [];
  const rounds = flags.python || flags.ort ? ROUNDS : 1;
  let busy = 0;
  for (let round = 0; round < rounds; round++) {
    busy = Math.max(busy, await busyCores());
    const runs = Math.ceil(flags.runs / rounds);
    const { warmUp } = flags;
    const times = await inTurns(
      { op: () => finished(run), composed: () => finished(stock) },
      { warmUp, runs },
    );
    ours.push(times.op.ms);
    slow.push(times.composed.ms);
    if (flags.python) torch.push(pythonMs(flags.python, T, runs));
    if (flags.ort) ort.push(ortMs(flags.ort, T, runs));
    busy = Math.max(busy, await busyCores());
  }
  tf.dispose(x);
  disposeRotary(rotary);
  const { ms, best } = timesOf(ours);
  const line = {
    bench: 'blocks',
    case: `decoder block, ${flags.geometry}, ${T} tokens, ${flags.weights}`,
    ms,
    best,
    tokensPerSecond: (T / ms) * 1000,
    ratioToComposed: timesOf(slow).ms / ms,
    ...(dispatches && { dispatches: dispatches.op, dispatchesComposed: dispatches.composed }),
    ...(flags.python && {
      torchMs: timesOf(torch).ms,
      ratioToTorch: busy <= QUIET ? timesOf(torch).ms / ms : null, // null: not alone on the machine, so there is no ratio
    }),
    ...(flags.ort && {
      ortProductsMs: timesOf(ort).ms,
      ratioToOrtProducts: busy <= QUIET ? timesOf(ort).ms / ms : null,
    }),
    error,
    busyCores: busy,
  };
  printLine(line, where);
}

/** As a checkpoint's is kept by this backend. */
function stored(...given: Parameters<MakeMatrix>): Matrix {
  return matrixStore().packed(rawOf(...given));
}

/** As stock ops like it best: float32 [in, out]. */
function asTensor(...given: Parameters<MakeMatrix>): Matrix {
  const raw = rawOf(...given);
  return float32Matrix(tf.tidy(() => tf.transpose(tf.tensor2d(valuesOf(raw), [raw.outSize, raw.inSize]))));
}

function rawOf(...[values, outSize, inSize, of]: Parameters<MakeMatrix>): RawMatrix {
  const { weights } = flags;
  return rawMatrix(values, of === 'lora' && isIntegers(weights) ? 'bfloat16' : weights, outSize, inSize);
}

/** Runs bench/reference/blocks.py, and gives its JSON lines. */
function python(command: string, args: readonly string[]): Record<string, unknown>[] {
  const script = fileURLToPath(new URL('reference/blocks.py', import.meta.url));
  const options = { encoding: 'utf8', maxBuffer: 2 ** 28 } as const;
  const text = execFileSync(command, [script, '--threads', String(flags.threads), ...args], options);
  return text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

function pythonMs(command: string, T: number, runs: number): number {
  const args = ['--geometry', flags.geometry, '--tokens', String(T), '--runs', String(runs)];
  return python(command, args)[0].ms as number;
}

/** The seven matrix products of a published block in onnxruntime: less work than the block that is timed beside them. */
function ortMs(folder: string, T: number, runs: number): number {
  const script = fileURLToPath(new URL('reference/ort-products.mjs', import.meta.url));
  const args = ['--ort', folder, '--tokens', T, '--threads', flags.threads, '--runs', runs].map(String);
  if (flags.device === 'webgpu') args.push('--provider', 'webgpu'); // on the same adapter
  return JSON.parse(execFileSync(process.execPath, [script, ...args], { encoding: 'utf8' })).ms as number;
}

/** Both write the same block: block 0 of the embedded checkpoint with its retrieval adapter, on x[t, d] = sin(t · D + d). */
async function verifyWithPython(command: string, on: Where): Promise<void> {
  const [{ output, shape }] = python(command, ['--verify', defaultModelPath()]);
  const [T, D] = shape as [number, number];
  using jina = await JinaEmbeddings.load(null, { device: flags.device, threads: flags.threads });
  const c: DecoderConfig = jina.model.config.decoder;
  const x = tf.tensor2d(
    Float32Array.from({ length: T * D }, (_, i) => Math.sin(i)),
    [T, D],
  );
  const rotary = textRotary(T, jina.model.config);
  const first = await jina.model.view('retrieval').model.layers.take(0);
  const y = decoderBlock(first, x, rotary, c, cumulate([T]));
  const error = checkClose('block 0 against PyTorch', await y.data(), output as number[], ALLOWED);
  tf.dispose([x, y]);
  disposeRotary(rotary);
  printLine({ bench: 'blocks', case: 'block 0 of the embedded checkpoint equals PyTorch', error }, on);
}
