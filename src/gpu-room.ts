import { DeviceError } from './errors.ts';
import type { GpuPlan, GpuPrecision } from './gpu-plan.ts';
import type { WeightResidence } from './load.ts';

const PIECE = 2 ** 30;

/**
 * Whether the device gives so many bytes at once. WebGPU does not tell how much memory a GPU has, so they are asked for, in
 * buffers that nothing is written to, and given back. Where memory is lent from the host, a yes may be too hopeful.
 */
export async function gpuHasRoom(device: GPUDevice, bytes: number): Promise<boolean> {
  const most = Math.min(PIECE, device.limits.maxBufferSize);
  const taken: GPUBuffer[] = [];
  try {
    for (let left = bytes; left > 0; left -= most) {
      const size = 4 * Math.ceil(Math.min(left, most) / 4);
      device.pushErrorScope('out-of-memory');
      taken.push(device.createBuffer({ size, usage: GPUBufferUsage.STORAGE }));
      if (await device.popErrorScope()) return false;
    }
    return true;
  } finally {
    for (const buffer of taken) buffer.destroy();
  }
}

export type RoomQuestion = {
  readonly wanted: WeightResidence | 'auto';
  /** What would be taken if there were room. */
  readonly residence: WeightResidence;
  /** How the checkpoint has its matrices. */
  readonly stored: GpuPrecision;
  readonly plans: readonly GpuPlan[];
  readonly hasRoom: (bytes: number) => Promise<boolean>;
};

/**
 * The residence that the GPU has room for. An automatic choice gives way; one that was asked for by name does not.
 * @throws DeviceError before anything is loaded, with the precisions that would fit
 */
export async function residenceWithRoom(question: RoomQuestion): Promise<WeightResidence> {
  const { wanted, residence, stored, plans, hasRoom } = question;
  if (residence === 'streamed') return residence; // a block at a time
  const kept = residence === 'float32' ? 'float32' : stored;
  const plan = plans.find((p) => p.precision === kept) as GpuPlan;
  if (await hasRoom(plan.total)) return residence;
  if (wanted === 'auto') {
    if (kept === stored) return 'streamed';
    return residenceWithRoom({ ...question, residence: 'bfloat16' });
  }
  const fitting: string[] = [];
  for (const p of plans.filter(({ total }) => total < plan.total))
    if (await hasRoom(p.total)) fitting.push(`${nameOf(p, stored)} (${gigabytes(p.total)})`);
  const { weights, adapters, copies, work, pool } = plan;
  throw new DeviceError(
    `with ${kept} weights this model takes about ${gigabytes(plan.total)} of GPU memory (weights ${gigabytes(weights)}, ` +
      `adapters ${gigabytes(adapters + copies)}, a batch ${gigabytes(work + pool)}), and the GPU does not give that much; ` +
      `${fitting.length ? `these precisions would fit: ${fitting.join(', ')}` : 'no precision fits'}; ` +
      'residence "streamed" takes a block at a time',
  );
}

// A plan of int4 in every map, unless it is of a checkpoint that is there. `quantize` mixes it with int8 when not told.
const nameOf = ({ precision }: GpuPlan, stored: GpuPrecision): string =>
  precision === 'int4' && stored !== 'int4' ? 'int4 --everywhere' : precision;

const gigabytes = (bytes: number): string =>
  bytes < 1e9 ? `${Math.round(bytes / 1e6)} MB` : `${(bytes / 1e9).toFixed(1)} GB`;
