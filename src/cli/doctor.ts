import { spawn } from 'node:child_process';
import { once } from 'node:events';
import os from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import type { DeviceName } from '../config.ts';
import type { DeviceChoice, DeviceManager } from '../device.ts';
import { bytes } from './amounts.ts';
import type { Circumstances, Prediction } from './model-prediction.ts';
import { deviceOption, type GlobalOptions, modelOption, withExamples } from './options.ts';
import { packageFolder, packageVersion } from './package-folder.ts';
import { imageOption, type PlanOptions, plannedBatches, tokensOption } from './plan-options.ts';
import { action, type Session } from './session.ts';
import { readSettings } from './settings.ts';
import { pairs } from './table.ts';

type DoctorOptions = GlobalOptions &
  PlanOptions & {
    readonly device?: DeviceName;
    readonly model?: string;
    readonly installNative?: boolean;
  };

/** Whether the GPU gave that much when it was asked; null where none was. */
type Fits = { readonly gpuFits: Readonly<Record<string, boolean>> | null };

type Model = (Prediction & Fits) | { readonly name: string; readonly problem: string };

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
    .addOption(modelOption())
    .addOption(tokensOption())
    .addOption(imageOption())
    .option('--install-native', 'first install the native CPU engine (the same as npm run native)')
    .action(action<DoctorOptions>(signal, doctor));
  return withExamples(command, 'jina-embeddings doctor', 'jina-embeddings doctor --device webgpu --json');
}

async function doctor(options: DoctorOptions, { terminal, signal }: Session): Promise<void> {
  if (options.installNative) await installNative(signal);
  const settings = await readSettings(options.config, { device: options.device });
  const { nodeDoor } = await import('../platform/node.ts');
  const { DeviceManager, hasOwnMemory } = await import('../device.ts');
  const manager = new DeviceManager(nodeDoor.engines);
  const backends = (await manager.detect()).map(({ name, report }) => ({ name, ...report }));
  const { device, compute, batchSize } = settings;
  const wish = { device, precision: compute ?? undefined, batchSize: batchSize ?? undefined };
  const chosen = await manager.select(wish).catch((error: Error) => error);
  const hasRoom = chosen instanceof Error ? null : await askGpu(manager, chosen);
  const where: Circumstances = {
    backend: chosen instanceof Error ? 'cpu' : chosen.backend,
    ownMemory: !(chosen instanceof Error) && hasOwnMemory(chosen),
    free: nodeDoor.memory()?.free ?? null,
    batches: plannedBatches(options),
  };
  const models: Model[] = [];
  for (const m of await predictions(options.model, where, signal))
    models.push('problem' in m ? m : await askRoom(m, hasRoom)); // one by one: each asks for all it needs
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
    models,
  };
  await terminal.print(options.json ? `${JSON.stringify(found)}\n` : describe(found, terminal));
  if (chosen instanceof Error) throw chosen;
}

async function imageDecoder(): Promise<string> {
  try {
    const { versions } = (await import('sharp')).default;
    return `sharp ${versions.sharp} on libvips ${versions.vips}`;
  } catch (error) {
    return `sharp does not load (${(error as Error).message.split('\n')[0]}): run \`npm install sharp\`; texts work without it`;
  }
}

/** The embedded checkpoint, or the one named, and the published one, which need not be here. */
async function predictions(
  model: string | undefined,
  where: Circumstances,
  signal: AbortSignal,
): Promise<readonly (Prediction | Extract<Model, { problem: string }>)[]> {
  const { openToLook } = await import('../platform/node.ts');
  const { summarize } = await import('./checkpoint-summary.ts');
  const { predictCheckpoint, predictPublished } = await import('./model-prediction.ts');
  const published = predictPublished(where);
  try {
    const tree = await openToLook(model ?? null, signal);
    try {
      return [predictCheckpoint(await summarize(tree, signal), where), published];
    } finally {
      await tree.close();
    }
  } catch (error) {
    signal.throwIfAborted();
    return [{ name: model ?? 'embedded checkpoint', problem: (error as Error).message }, published];
  }
}

type HasRoom = (bytes: number) => Promise<boolean>;

/** A question to the chosen GPU; null where another backend was chosen, or it does not start. */
async function askGpu(manager: DeviceManager, choice: DeviceChoice): Promise<HasRoom | null> {
  if (choice.backend !== 'webgpu') return null;
  const { gpuHasRoom } = await import('../gpu-room.ts');
  const { gpuDevice } = await import('../device-webgpu.ts');
  const started = await manager.start(choice).catch(() => null);
  const device = started && gpuDevice();
  return device ? (bytes) => gpuHasRoom(device, bytes) : null;
}

async function askRoom(model: Prediction, hasRoom: HasRoom | null): Promise<Prediction & Fits> {
  if (!hasRoom) return { ...model, gpuFits: null };
  const gpuFits: Record<string, boolean> = {};
  for (const { precision, total } of model.gpu) gpuFits[precision] = await hasRoom(total);
  return { ...model, gpuFits };
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
    .map((m) => `  ${m.name}\n${'problem' in m ? `    ${m.problem}\n` : peaks(m, style)}`)
    .join('');
  const gpu = f.models
    .flatMap((m) => ('problem' in m ? [] : [`  ${m.name}\n${gpuPeaks(m, style)}`]))
    .join('');
  const sections = [
    ['This machine', machine],
    ['Backends', backends],
    ['Chosen', choice],
    ['Memory that a model is expected to take, by how its weights are kept', models],
    ['GPU memory that it is expected to take on webgpu, by precision of its weights', gpu],
  ];
  return sections.map(([title, body]) => `${style.bold(title)}\n${body}`).join('\n');
}

function peaks(m: Prediction, style: Session['terminal']['style']): string {
  const verdict = (p: Prediction['peaks'][number]) => {
    if (!p.fits) return style.yellow('does not fit');
    return p.residence === m.residence ? style.green('fits, and would be chosen') : 'fits';
  };
  return pairs(
    m.peaks.map((p) => [p.residence, `${bytes(p.bytes).padStart(7)}  ${verdict(p)}`]),
    { indent: 4 },
  );
}

function gpuPeaks(m: Prediction & Fits, style: Session['terminal']['style']): string {
  const verdict = (precision: string) => {
    if (m.gpuFits === null) return '';
    return m.gpuFits[precision] ? 'fits' : style.yellow('does not fit');
  };
  return pairs(
    m.gpu.map((p) => [p.precision, `${bytes(p.total).padStart(7)}  ${verdict(p.precision)}`.trimEnd()]),
    { indent: 4 },
  );
}

/** Runs the script that also works before anything is built. What it prints goes to stderr: stdout is for findings. */
async function installNative(signal: AbortSignal): Promise<void> {
  const script = join(packageFolder(), 'scripts', 'install-native.mjs');
  // Ctrl-C reaches the whole process group; the script cleans up after itself and must not be killed before it has.
  const child = spawn(process.execPath, [script], { stdio: ['ignore', process.stderr, 'inherit'] });
  const [code] = (await once(child, 'close')) as [number | null];
  signal.throwIfAborted();
  if (code !== 0) throw new Error('the native engine could not be installed; the lines above say why');
}
