import { registerBodies } from '../kernels/bodies.ts';
import type { BackendName, Engine, EngineOptions, EngineReport } from './device-engine.ts';
import { canHalve, type Hardware, ORDER, POLICIES, type Precision } from './device-policy.ts';
import { DeviceError } from './errors.ts';

/** Where the model runs, in what precision and batch size, and why. */
export type DeviceChoice = {
  readonly backend: BackendName;
  readonly hardware: Hardware;
  readonly device?: string;
  readonly precision: Precision;
  readonly batchSize: number;
  /** One sentence or two, for people. */
  readonly reason: string;
  /** Every backend that was looked at. */
  readonly considered: readonly Considered[];
};

/** Whether what it computes with lies outside the host's memory, as far as is known. */
export const hasOwnMemory = ({ backend, considered }: DeviceChoice): boolean =>
  backend === 'webgpu' && considered.some(({ name, report }) => name === backend && report.memory !== null);

export type Considered = { readonly name: BackendName; readonly report: EngineReport };

export type SelectOptions = {
  /** A backend by name, `cuda`, or `auto` (default). A name means that one or an error. */
  readonly device?: BackendName | 'auto' | 'cuda';
  readonly precision?: Precision;
  readonly batchSize?: number;
};

/** Looks at the machine, picks backend, precision and batch size, and says why. */
export class DeviceManager {
  readonly #engines: readonly Engine[];
  #reports: Promise<readonly Considered[]> | null = null;

  constructor(engines: readonly Engine[]) {
    this.#engines = engines;
  }

  /** What every backend found. Nothing heavy is started; looked at once. */
  detect(): Promise<readonly Considered[]> {
    this.#reports ??= Promise.all(
      this.#engines.map(async (e) => ({ name: e.name, report: await e.probe() })),
    );
    return this.#reports;
  }

  /** @throws DeviceError when the named device is not there, or none is */
  async select({ device = 'auto', precision, batchSize }: SelectOptions = {}): Promise<DeviceChoice> {
    const considered = await this.#consider(device);
    const { found, why } = device === 'auto' ? automatic(considered) : named(considered, device);
    const { report } = found;
    const policy = POLICIES[report.hardware];
    const wish = precision ?? policy.precision;
    const half = wish === 'float16' && canHalve(found.name, report.hardware) && report.half !== false;
    const refused =
      wish === 'float16' && !half ? `; float16 arithmetic is not available on ${found.name}, so float32` : '';
    return {
      backend: found.name,
      hardware: report.hardware,
      device: report.device,
      precision: half ? 'float16' : 'float32',
      batchSize: batchSize ?? policy.batchSize,
      reason: `${found.name}: ${why} (${report.detail})${refused}`,
      considered,
    };
  }

  /** Registers the chosen backend with TF.js, makes it the current one, and tells what really started (threads, adapter). */
  async start(choice: DeviceChoice, options: EngineOptions = {}): Promise<EngineReport> {
    const engine = this.#engines.find((e) => e.name === choice.backend);
    if (!engine) throw new DeviceError(`no engine for the backend "${choice.backend}" on this platform`);
    const report = await engine.start({ ...options, software: choice.hardware === 'software' });
    const tf = await import('@tensorflow/tfjs-core');
    if (!(await tf.setBackend(choice.backend))) {
      throw new DeviceError(`TF.js refused the backend "${choice.backend}" (${report.detail})`);
    }
    await tf.ready();
    await registerBodies(choice.backend);
    return report;
  }

  // A named backend is looked at alone: asking for wasm must not wait for a GPU driver.
  async #consider(device: NonNullable<SelectOptions['device']>): Promise<readonly Considered[]> {
    if (device === 'auto') return this.detect();
    const name = device === 'cuda' ? 'tensorflow' : device;
    const engine = this.#engines.find((e) => e.name === name);
    if (!engine) {
      const names = this.#engines.map((e) => e.name).join(', ');
      throw new DeviceError(`there is no backend "${device}" on this platform; it has ${names}`);
    }
    return [{ name, report: await engine.probe() }];
  }
}

function automatic(considered: readonly Considered[]): { found: Considered; why: string } {
  for (const { backend, hardware, why } of ORDER) {
    const found = considered.find(
      (c) => c.name === backend && c.report.available && hardware.includes(c.report.hardware),
    );
    if (found) return { found, why };
  }
  throw new DeviceError(
    `no backend can run here: ${considered.map((c) => `${c.name}: ${c.report.detail}`).join('; ')}`,
  );
}

function named(considered: readonly Considered[], device: string): { found: Considered; why: string } {
  const [found] = considered;
  if (!found.report.available) throw new DeviceError(`"${device}" was asked for, but ${found.report.detail}`);
  if (device === 'cuda' && found.report.hardware !== 'cuda') {
    throw new DeviceError(
      `"cuda" was asked for, but TensorFlow runs on the ${found.report.hardware}: ${found.report.detail}`,
    );
  }
  return { found, why: 'asked for by name' };
}
