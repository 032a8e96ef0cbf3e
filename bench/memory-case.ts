import { summarize } from '../src/cli/checkpoint-summary.ts';
import { predictCheckpoint } from '../src/cli/model-prediction.ts';
import { plannedBatches } from '../src/cli/plan-options.ts';
import type { Residence, Settings } from '../src/config.ts';
import { hasOwnMemory } from '../src/device.ts';
import { JinaEmbeddings, openFolder } from '../src/platform/node.ts';

/** One process of bench/memory.bench.ts: loads, embeds, prints what it took. */
export type MemoryCase = {
  readonly model: string;
  readonly device: string;
  readonly residence: string;
  readonly texts: number;
  /** Tokens of each text. */
  readonly length: number;
  readonly image?: readonly [width: number, height: number];
};

export type MemoryFinding = {
  /** Bytes: the kernel's own high-water mark of resident memory. */
  readonly peak: number;
  readonly planned: number;
  readonly engine: string;
  /** From the start of the process until its first embedding is there: a short text's, or the picture's. */
  readonly secondsToFirst: number;
  /** Of the batch alone. */
  readonly seconds: number;
};

if (process.argv[2]) {
  const { model, device, residence, texts, length, image } = JSON.parse(process.argv[2]) as MemoryCase;
  const jina = await JinaEmbeddings.load(model, {
    device: device as Settings['device'],
    residence: residence as Residence,
  });
  const embed = picture(image) ?? textBatch(texts, length);
  if (!image) await jina.encodeText('first');
  const first = performance.now();
  let vectors = await embed();
  const once = performance.now();
  // A long input is run once; a batch that takes seconds once more, warm.
  const again = !image && length <= 64;
  if (again) vectors = await embed();
  const seconds = (performance.now() - (again ? once : first)) / 1000;
  for (const v of vectors) {
    if (Math.abs(Math.hypot(...v) - 1) > 1e-4)
      throw new Error(`not a unit vector: length ${Math.hypot(...v)}`);
  }
  const finding: MemoryFinding = {
    peak: process.resourceUsage().maxRSS * 1024,
    planned: await plannedPeak(),
    engine: jina.device.reason,
    secondsToFirst: (image ? once : first) / 1000,
    seconds,
  };
  console.log(JSON.stringify(finding));
  jina.dispose();

  /** What `info` would have said of this very batch. */
  async function plannedPeak(): Promise<number> {
    const summary = await summarize(await openFolder(model), new AbortController().signal);
    const batches = plannedBatches({ image }) ?? [{ texts: new Array(texts).fill(length), images: [] }];
    const { peaks } = predictCheckpoint(summary, {
      backend: jina.device.backend,
      ownMemory: hasOwnMemory(jina.device),
      free: null,
      batches,
    });
    return peaks.find((p) => p.residence === residence)!.bytes;
  }

  function textBatch(count: number, tokens: number): () => Promise<readonly Float32Array[]> {
    const words = 'a '.repeat(tokens);
    return () => jina.encodeText(new Array(count).fill(words), { maxLength: tokens, tokenBudget: 1 << 20 });
  }

  function picture(size: MemoryCase['image']): (() => Promise<readonly Float32Array[]>) | null {
    if (!size) return null;
    const [width, height] = size;
    const data = Uint8Array.from({ length: width * height * 3 }, (_, i) => (i * 31) % 251);
    return async () => [
      await jina.encodeImage({ width, height, channels: 3, data }, { maxPixels: width * height }),
    ];
  }
}
