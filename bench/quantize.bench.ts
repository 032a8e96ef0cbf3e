import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { openDraftFolder } from '../src/cli/draft-folder.ts';
import type { BackendName } from '../src/device-engine.ts';
import { JinaEmbeddings, nodeDoor } from '../src/platform/node.ts';
import { type QuantizedCheckpoint, quantizeCheckpoint } from '../src/quantize/quantize-checkpoint.ts';
import type { StoredPrecision } from '../weights/quantization-recipe.ts';
import { busyCores, median, printLine } from './measure.ts';

// node --import tsx bench/quantize.bench.ts --device tensorflow --model FOLDER
// Every precision: size, time to make it, cosine to float32 (least and mean), time of a batch with packed weights.

const flags = new Command('quantize.bench')
  .option('--model <folder>', 'a checkpoint, as made by make-checkpoint (default: the embedded one)')
  .option('--device <name>', 'tensorflow, wasm or cpu', 'wasm')
  .option('--out <folder>', 'where the quantised checkpoints lie meanwhile', tmpdir())
  .parse()
  .opts<{ model?: string; device: BackendName; out: string }>();

/** Below these a case is wrong, not inexact, and is not timed: a permuted or misscaled matrix gives cosines near 0. */
const LEAST = { float16: 0.9999, int8: 0.99, int4: 0.9, 'int4 everywhere': 0.7 } as const;
type Case = keyof typeof LEAST;
const CASES = Object.keys(LEAST) as Case[];

const WORDS = 'the cat sat on a warm red roof while seven small boats left the quiet harbour at dawn'.split(
  ' ',
);
const texts = Array.from({ length: 16 }, (_, i) =>
  Array.from({ length: 4 + 3 * i }, (_, j) => WORDS[(i * 7 + j * j) % WORDS.length]).join(' '),
);
const picture = {
  width: 280,
  height: 224,
  channels: 3 as const,
  data: Uint8Array.from({ length: 280 * 224 * 3 }, (_, i) => (i * 31 + (i >> 9) * 17) % 251),
};
const BATCH = new Array<string>(8).fill('a '.repeat(64));

type Found = { readonly vectors: readonly Float32Array[]; readonly ms: number; readonly engine: string };

/** Embeds with and without an adapter, and times 8 texts of 64 tokens. */
async function embed(model: string | null, residence: 'float32' | 'bfloat16'): Promise<Found> {
  using jina = await JinaEmbeddings.load(model, { device: flags.device, residence });
  const vectors: Float32Array[] = [];
  for (const task of [null, 'retrieval'])
    vectors.push(...(await jina.encode([...texts, { image: picture }], { task })));
  const ms: number[] = [];
  for (let run = -1; run < 3; run++) {
    const began = performance.now();
    await jina.encodeText(BATCH, { maxLength: 64 });
    if (run >= 0) ms.push(performance.now() - began);
  }
  return { vectors, ms: median(ms), engine: jina.device.backend };
}

function cosine(a: Float32Array, b: Float32Array): number {
  let dot = 0;
  for (let i = 0; i < a.length; i++) dot += a[i] * b[i];
  return dot / (Math.hypot(...a) * Math.hypot(...b));
}

async function make(name: Case, out: string): Promise<QuantizedCheckpoint & { readonly seconds: number }> {
  const tree = await (flags.model ? nodeDoor.openTree(flags.model) : nodeDoor.openDefault());
  const draft = await openDraftFolder(out);
  const began = performance.now();
  const made = await quantizeCheckpoint(tree, draft, {
    precision: name.split(' ')[0] as StoredPrecision,
    everywhere: name.endsWith('everywhere'),
    tool: 'bench',
    sha256: () => {
      const hash = createHash('sha256');
      return { update: (bytes) => void hash.update(bytes), hex: () => hash.digest('hex') };
    },
  });
  await draft.commit();
  await tree.close();
  return { ...made, seconds: (performance.now() - began) / 1000 };
}

const root = await mkdtemp(join(flags.out, 'quantize-bench-'));
try {
  const busy = await busyCores();
  const made = new Map<Case, Awaited<ReturnType<typeof make>>>();
  for (const name of CASES) made.set(name, await make(name, join(root, name)));
  const peakMb = process.resourceUsage().maxRSS / 1024; // of all four, before any model is loaded
  const source = flags.model ?? null;
  const truth = await embed(source, 'float32');
  const packed = await embed(source, 'bfloat16');
  for (const name of CASES) {
    const { sourceBytes, bytes, seconds } = made.get(name) as Awaited<ReturnType<typeof make>>;
    const { vectors, ms, engine } = await embed(join(root, name), 'bfloat16');
    const cosines = vectors.map((v, i) => cosine(v, truth.vectors[i]));
    const least = Math.min(...cosines);
    if (!(least >= LEAST[name]))
      throw new Error(`${name}: wrong, so not timed: cosine ${least}, at least ${LEAST[name]} expected`);
    printLine(
      {
        bench: 'quantize',
        case: name,
        mb: bytes / 1e6,
        ofSource: bytes / sourceBytes,
        seconds,
        gbPerSecond: sourceBytes / seconds / 1e9,
        peakMb,
        cosineLeast: Number(least.toFixed(6)),
        cosineMean: Number((cosines.reduce((a, b) => a + b) / cosines.length).toFixed(6)),
        ms,
        ratioToFloat32: truth.ms / ms,
        ratioToBfloat16: packed.ms / ms,
        busyCores: busy,
      },
      { backend: flags.device, engine },
    );
  }
} finally {
  await rm(root, { recursive: true, force: true });
}
