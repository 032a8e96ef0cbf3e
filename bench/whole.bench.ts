import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { busyCores, median, printLine, QUIET } from './measure.ts';
import type { WholeCase, WholeFinding } from './whole-case.ts';

// node --import tsx bench/whole.bench.ts --model FOLDER --python python3
// The whole model, 8 texts of 64 tokens and a page of 896 x 644, beside PyTorch float32 of the same geometry: a process of
// each in turn, since the two do not fit in memory together. A quarter of an hour for the published geometry.

const flags = new Command('whole.bench')
  .requiredOption('--model <folder>', 'a checkpoint of the published geometry, as made by make-checkpoint')
  .requiredOption('--python <file>', 'a Python that has torch')
  .option('--device <name>', 'tensorflow, wasm or cpu', 'tensorflow')
  .option('--residence <list>', 'float32, bfloat16, streamed', 'bfloat16')
  .option('--case <list>', 'text, image', 'text,image')
  .option('--rounds <n>', 'processes of each', Number, 2)
  .option('--runs <n>', 'timed runs in a process', Number, 2)
  .parse()
  .opts<{
    model: string;
    python: string;
    device: string;
    residence: string;
    case: string;
    rounds: number;
    runs: number;
  }>();

for (const what of flags.case.split(',') as WholeCase['what'][]) {
  const torch: Run[] = [];
  const ours = new Map<string, Run[]>(flags.residence.split(',').map((residence) => [residence, []]));
  for (let round = 0; round < flags.rounds; round++) {
    torch.push(await quietly(() => pytorch(what)));
    for (const [residence, runs] of ours) runs.push(await quietly(() => own(what, residence)));
  }
  const yardstick = median(torch.flatMap((r) => r.ms));
  for (const [residence, runs] of ours) {
    const ms = median(runs.flatMap((r) => r.ms));
    const busy = Math.max(...[...torch, ...runs].map((r) => r.busy));
    printLine(
      {
        bench: 'whole',
        case: what === 'text' ? '8 texts × 64 tokens' : 'a page of 896 × 644',
        residence,
        ms,
        best: Math.min(...runs.flatMap((r) => r.ms)),
        torchMs: yardstick,
        torchBest: Math.min(...torch.flatMap((r) => r.ms)),
        ratioToTorch: busy <= QUIET ? yardstick / ms : null,
        peakGb: Math.max(...runs.map((r) => r.peak)) / 1e9,
        torchPeakGb: Math.max(...torch.map((r) => r.peak)) / 1e9,
        busyCores: busy,
        torch: torch[0].engine,
      },
      { backend: flags.device, engine: runs[0].engine },
    );
  }
}

type Run = WholeFinding & { readonly busy: number };

async function quietly(run: () => WholeFinding): Promise<Run> {
  const busy = await busyCores();
  return { ...run(), busy };
}

function own(what: WholeCase['what'], residence: string): WholeFinding {
  const { model, device, runs } = flags;
  const script = fileURLToPath(new URL('./whole-case.ts', import.meta.url));
  const args = JSON.stringify({ model, device, residence, what, runs } satisfies WholeCase);
  return JSON.parse(lastLine(process.execPath, ['--import', 'tsx', script, args])) as WholeFinding;
}

function pytorch(what: WholeCase['what']): WholeFinding {
  const script = fileURLToPath(new URL('./reference/blocks.py', import.meta.url));
  const line = lastLine(flags.python, [script, '--whole', what, '--runs', String(flags.runs)]);
  const { times, peak_rss_gb, engine } = JSON.parse(line) as {
    times: number[];
    peak_rss_gb: number;
    engine: string;
  };
  return { ms: times, peak: peak_rss_gb * 1e9, engine };
}

function lastLine(file: string, args: readonly string[]): string {
  const out = execFileSync(file, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
  return out.trim().split('\n').at(-1) as string;
}
