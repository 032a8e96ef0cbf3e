import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { printLine } from './measure.ts';
import type { MemoryCase, MemoryFinding } from './memory-case.ts';

// node --import tsx bench/memory.bench.ts --model FOLDER --residence bfloat16,streamed
// node --import tsx bench/memory.bench.ts --model FOLDER --tokens 4096,32768
// Peak memory of a whole process (load, first embedding, one batch), beside what the plan said before loading.

const flags = new Command('memory.bench')
  .requiredOption('--model <folder>', 'a checkpoint, as made by make-checkpoint')
  .option('--device <name>', 'tensorflow, wasm or cpu', 'tensorflow')
  .option('--residence <list>', 'float32, bfloat16, streamed', 'bfloat16,streamed')
  .option('--tokens <list>', 'one text of each length; without it, 8 texts of 64 tokens')
  .option('--image <list>', 'pictures of these sizes, as 644x896')
  .parse()
  .opts<{ model: string; device: string; residence: string; tokens?: string; image?: string }>();

const lengths = flags.tokens?.split(',').map(Number) ?? [];
const sizes = flags.image?.split(',').map((s) => s.split('x').map(Number) as [number, number]) ?? [];

for (const residence of flags.residence.split(',')) {
  const base = { model: flags.model, device: flags.device, residence };
  const cases: MemoryCase[] = [
    ...lengths.map((length) => ({ ...base, texts: 1, length })),
    ...sizes.map((image) => ({ ...base, texts: 0, length: 0, image })),
  ];
  if (cases.length === 0) cases.push({ ...base, texts: 8, length: 64 });
  let first: MemoryFinding | null = null;
  for (const memoryCase of cases) {
    const found = inOwnProcess(memoryCase);
    first ??= found;
    printLine(
      {
        bench: 'memory',
        case: title(memoryCase),
        peakGb: found.peak / 1e9,
        plannedGb: found.planned / 1e9,
        plannedToPeak: found.planned / found.peak,
        aboveFirstCase: found.peak / first.peak,
        secondsToFirst: found.secondsToFirst,
        seconds: found.seconds,
      },
      { backend: flags.device, engine: found.engine },
    );
  }
}

function title({ residence, texts, length, image }: MemoryCase): string {
  const what = image ? `a picture of ${image.join(' × ')}` : `${texts} × ${length} tokens`;
  return `${residence}, ${what}`;
}

/** A peak is a property of a process, so each case has one. */
function inOwnProcess(memoryCase: MemoryCase): MemoryFinding {
  const script = fileURLToPath(new URL('./memory-case.ts', import.meta.url));
  const out = execFileSync(process.execPath, ['--import', 'tsx', script, JSON.stringify(memoryCase)], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  return JSON.parse(out.trim().split('\n').at(-1) as string) as MemoryFinding;
}
