import os from 'node:os';
import { Command } from 'commander';
import type { DeviceName } from '../config.ts';
import type { DeviceChoice } from '../device.ts';
import { bytes } from './amounts.ts';
import { EXIT } from './exit.ts';
import type { MemoryEstimate } from './memory-estimate.ts';
import { deviceOption, type GlobalOptions, withExamples } from './options.ts';
import { packageVersion } from './package-folder.ts';
import { action, type Session } from './session.ts';
import { readSettings } from './settings.ts';
import { pairs } from './table.ts';

type DoctorOptions = GlobalOptions & { readonly device?: DeviceName };

type Model =
  | { readonly name: string; readonly memory: MemoryEstimate }
  | { readonly name: string; readonly problem: string };

type Findings = {
  readonly version: string;
  readonly node: string;
  readonly platform: string;
  readonly processor: string;
  readonly cores: number;
  readonly memory: { readonly total: number; readonly free: number };
  readonly images: string;
  readonly backends: readonly {
    readonly name: string;
    readonly available: boolean;
    readonly detail: string;
  }[];
  readonly choice: Omit<DeviceChoice, 'considered'> | null;
  /** Why nothing can be chosen. */
  readonly problem: string | null;
  readonly models: readonly Model[];
};

export function doctorCommand(signal: AbortSignal): Command {
  const command = new Command('doctor')
    .description('what this machine offers, what would be chosen and why')
    .addOption(deviceOption())
    .action(action<DoctorOptions>(signal, doctor));
  return withExamples(command, 'jina-embeddings doctor', 'jina-embeddings doctor --device webgpu --json');
}

async function doctor(options: DoctorOptions, { terminal, signal }: Session): Promise<void> {
  const settings = await readSettings(options.config, { device: options.device });
  const { nodeDoor } = await import('../platform/node.ts');
  const { DeviceManager } = await import('../device.ts');
  const manager = new DeviceManager(nodeDoor.engines);
  const backends = (await manager.detect()).map(({ name, report }) => ({ name, ...report }));
  const { device, compute, batchSize } = settings;
  const wish = { device, precision: compute ?? undefined, batchSize: batchSize ?? undefined };
  const chosen = await manager.select(wish).catch((error: Error) => error);
  const found: Findings = {
    version: packageVersion(),
    node: process.version,
    platform: `${process.platform} ${process.arch}, ${os.type()} ${os.release()}`,
    processor: os.cpus()[0]?.model ?? 'unknown',
    cores: os.cpus().length,
    memory: nodeDoor.memory() ?? { total: os.totalmem(), free: os.freemem() },
    images: await imageDecoder(),
    backends,
    choice: chosen instanceof Error ? null : withoutReports(chosen),
    problem: chosen instanceof Error ? chosen.message : null,
    models: await predictions(signal),
  };
  await terminal.print(options.json ? `${JSON.stringify(found)}\n` : describe(found, terminal));
  // The findings are the output in either case; scripts look at the code.
  if (found.problem !== null) process.exitCode = EXIT.failure;
}

async function imageDecoder(): Promise<string> {
  try {
    const { versions } = (await import('sharp')).default;
    return `sharp ${versions.sharp} on libvips ${versions.vips}`;
  } catch (error) {
    return `sharp does not load (${(error as Error).message.split('\n')[0]}): run \`npm install sharp\`; texts work without it`;
  }
}

/** The embedded checkpoint as it is, and the published geometry, which need not be here. */
async function predictions(signal: AbortSignal): Promise<readonly Model[]> {
  const { nodeDoor } = await import('../platform/node.ts');
  const { parseModelConfig } = await import('../model-config.ts');
  const { summarize } = await import('./checkpoint-summary.ts');
  const { estimate } = await import('./memory-estimate.ts');
  const { PUBLISHED_CONFIG, PUBLISHED_RANK } = await import('./published-config.ts');
  const published = estimate(parseModelConfig(PUBLISHED_CONFIG), PUBLISHED_RANK);
  let embedded: Model;
  try {
    const tree = await nodeDoor.openDefault();
    try {
      embedded = { name: 'embedded checkpoint', memory: (await summarize(tree, signal)).memory };
    } finally {
      await tree.close();
    }
  } catch (error) {
    embedded = { name: 'embedded checkpoint', problem: (error as Error).message };
  }
  return [embedded, { name: 'published geometry', memory: published.memory }];
}

const withoutReports = ({ considered: _, ...choice }: DeviceChoice): Omit<DeviceChoice, 'considered'> =>
  choice;

function describe(f: Findings, { style, columns: width }: Session['terminal']): string {
  const lines = (entries: readonly (readonly [string, string])[]) => pairs(entries, { width });
  const machine = lines([
    ['jina-embeddings', f.version],
    ['Node', f.node],
    ['platform', f.platform],
    ['processor', `${f.processor}, ${f.cores} cores`],
    ['memory', `${bytes(f.memory.total)}, ${bytes(f.memory.free)} free`],
    ['images', f.images],
  ]);
  const mark = (yes: boolean) => (yes ? style.green('yes') : style.dim('no '));
  const backends = lines(f.backends.map((b) => [b.name, `${mark(b.available)}  ${b.detail}`]));
  const choice = f.choice
    ? lines([
        ['backend', f.choice.reason],
        ['arithmetic', f.choice.precision],
        ['batch', `${f.choice.batchSize} inputs`],
      ])
    : `  ${style.red('nothing')}: ${f.problem}\n`;
  const models = f.models
    .map((m) => `  ${m.name}\n${'memory' in m ? fits(m.memory, f.memory.free, style) : `    ${m.problem}\n`}`)
    .join('');
  const sections = [
    ['This machine', machine],
    ['Backends', backends],
    ['Chosen', choice],
    ['Memory that weights and three adapters would take', models],
  ];
  return sections.map(([title, body]) => `${style.bold(title)}\n${body}`).join('\n');
}

const fits = (memory: MemoryEstimate, free: number, style: Session['terminal']['style']): string =>
  pairs(
    Object.entries(memory).map(([dtype, n]) => [
      dtype,
      `${bytes(n).padStart(9)}  ${n < free ? style.green('fits') : style.yellow(`more than the ${bytes(free)} that are free`)}`,
    ]),
    { indent: 4 },
  );
