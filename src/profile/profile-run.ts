import type * as tf from '@tensorflow/tfjs-core';
import { type OpCall, observeOps } from '../../kernels/index.ts';
import { type OpClock, startClock } from './op-clock.ts';
import { type OpCost, opCost } from './op-cost.ts';

/** All calls of one op on maps of one size. */
export type ProfileRow = {
  readonly op: string;
  readonly calls: number;
  readonly ms: number;
  /** Of the time of the whole run. */
  readonly share: number;
  readonly gflops: number | null;
  readonly gbPerSecond: number | null;
};

export type Profile = {
  readonly clock: OpClock['kind'];
  /** Of the whole run, from its call to its result. */
  readonly wallMs: number;
  /** The largest first. What is no op of the model stands last. */
  readonly rows: readonly ProfileRow[];
};

/**
 * Runs a forward pass, or several, and says where their time went. Run it once before: what compiles would be counted. On
 * WebGPU the clock is the GPU's, so the last rows are what it did besides the ops, and the time in which it did nothing.
 */
export async function profileRun(run: () => Promise<unknown>): Promise<Profile> {
  const costs: OpCost[] = [];
  const clock = await startClock();
  let depth = 0;
  observeOps((call: OpCall, compute: () => tf.Tensor): tf.Tensor => {
    if (depth > 0) return compute(); // part of another op
    depth++;
    clock.enter(costs.length);
    try {
      const output = compute();
      costs.push(opCost(call, output));
      return output;
    } finally {
      clock.enter(null);
      depth--;
    }
  });
  const began = performance.now();
  let wallMs = 0;
  let times: Awaited<ReturnType<OpClock['stop']>>;
  try {
    await run();
    wallMs = performance.now() - began;
  } finally {
    observeOps(null);
    times = await clock.stop();
  }
  const byOp = new Map<string, { calls: number; ms: number; flops: number; bytes: number }>();
  costs.forEach(({ op, flops, bytes }, i) => {
    const sum = byOp.get(op) ?? { calls: 0, ms: 0, flops: 0, bytes: 0 };
    sum.calls++;
    sum.ms += times.ms.get(i) ?? 0;
    sum.flops += flops;
    sum.bytes += bytes;
    byOp.set(op, sum);
  });
  const rows = [...byOp].map(([op, { calls, ms, flops, bytes }]): ProfileRow => {
    const rate = (amount: number) => (ms > 0 ? amount / ms / 1e6 : null);
    return { op, calls, ms, share: ms / wallMs, gflops: rate(flops), gbPerSecond: rate(bytes) };
  });
  const rest = (op: string, ms: number): ProfileRow => ({
    op,
    calls: 0,
    ms,
    share: ms / wallMs,
    gflops: null,
    gbPerSecond: null,
  });
  const inOps = rows.reduce((sum, { ms }) => sum + ms, 0);
  const { none } = times;
  const last =
    none === null
      ? [rest('outside the ops', wallMs - inOps)]
      : [rest('other work of the GPU', none), rest('GPU idle', Math.max(0, wallMs - inOps - none))];
  return { clock: clock.kind, wallMs, rows: [...rows.sort((a, b) => b.ms - a.ms), ...last] };
}
