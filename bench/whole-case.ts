import type { Residence, Settings } from '../src/config.ts';
import { JinaEmbeddings } from '../src/platform/node.ts';
import { checkClose } from './measure.ts';

/** One process of bench/whole.bench.ts: loads a model, verifies, and times one batch. */
export type WholeCase = {
  readonly model: string;
  readonly device: string;
  readonly residence: string;
  readonly what: 'text' | 'image';
  readonly runs: number;
};

export type WholeFinding = { readonly ms: readonly number[]; readonly peak: number; readonly engine: string };

// As bench/reference/blocks.py --whole has them.
const TEXTS = 8;
const TOKENS = 64;
const [WIDTH, HEIGHT] = [896, 644];

const wholeCase = JSON.parse(process.argv[2]) as WholeCase;
const jina = await JinaEmbeddings.load(wholeCase.model, {
  device: wholeCase.device as Settings['device'],
  residence: wholeCase.residence as Residence,
});
const embed = wholeCase.what === 'text' ? await texts() : await page();
const ms: number[] = [];
for (let run = 0; run < wholeCase.runs; run++) {
  const began = performance.now();
  await embed();
  ms.push(performance.now() - began);
}
const finding: WholeFinding = {
  ms,
  peak: process.resourceUsage().maxRSS * 1024,
  engine: jina.device.reason,
};
console.log(JSON.stringify(finding));
jina.dispose();

/** Different texts, each longer than the limit. The first of them alone is the same vector as in the batch. */
async function texts(): Promise<() => Promise<readonly Float32Array[]>> {
  const words = ['red', 'apple', 'boat', 'sun', 'house', 'tree', 'fish', 'car'];
  const batch = Array.from({ length: TEXTS }, (_, i) =>
    `${words[i]} and ${words[(i + 3) % TEXTS]} `.repeat(TOKENS),
  );
  const run = () => jina.encodeText(batch, { maxLength: TOKENS, tokenBudget: TEXTS * TOKENS });
  const alone = await jina.encodeText(batch[0], { maxLength: TOKENS });
  checkClose('a text alone and in a batch', alone, (await run())[0], 1e-4);
  return run;
}

/** A page of seeded pixels, for nothing is known of what a picture of random weights should give but its length. */
async function page(): Promise<() => Promise<readonly Float32Array[]>> {
  const data = Uint8Array.from({ length: WIDTH * HEIGHT * 3 }, (_, i) => (i * 31) % 251);
  const run = async () => [
    await jina.encodeImage(
      { width: WIDTH, height: HEIGHT, channels: 3, data },
      { maxPixels: WIDTH * HEIGHT },
    ),
  ];
  const [vector] = await run();
  checkClose('the length of a vector', [Math.hypot(...vector)], [1], 1e-4);
  return run;
}
