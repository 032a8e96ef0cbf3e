import type { Residence, Settings } from '../src/config.ts';
import { JinaEmbeddings } from '../src/platform/node.ts';

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
  readonly secondsToFirst: number;
  readonly seconds: number;
};

if (process.argv[2]) {
  const { model, device, residence, texts, length, image } = JSON.parse(process.argv[2]) as MemoryCase;
  const jina = await JinaEmbeddings.load(model, {
    device: device as Settings['device'],
    residence: residence as Residence,
  });
  const began = performance.now();
  let vectors: readonly Float32Array[];
  if (image) {
    const [width, height] = image;
    const data = Uint8Array.from({ length: width * height * 3 }, (_, i) => (i * 31) % 251);
    vectors = [await jina.encodeImage({ width, height, channels: 3, data }, { maxPixels: width * height })];
  } else {
    await jina.encodeText('first');
    const words = 'a '.repeat(length);
    vectors = await jina.encodeText(new Array(texts).fill(words), {
      maxLength: length,
      tokenBudget: 1 << 20,
    });
  }
  const seconds = (performance.now() - began) / 1000;
  for (const v of vectors) {
    if (Math.abs(Math.hypot(...v) - 1) > 1e-4)
      throw new Error(`not a unit vector: length ${Math.hypot(...v)}`);
  }
  const finding: MemoryFinding = {
    peak: process.resourceUsage().maxRSS * 1024,
    planned: jina.device.plan.total,
    engine: jina.device.reason,
    secondsToFirst: performance.now() / 1000 - seconds,
    seconds,
  };
  console.log(JSON.stringify(finding));
  jina.dispose();
}
