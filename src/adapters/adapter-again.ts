import { gpuCall } from '../device-call.ts';
import { DeviceError } from '../errors.ts';
import type { ModelParams } from '../params.ts';
import { measureDora } from './measure-dora.ts';
import type { Adapter } from './with-adapters.ts';

/** The same adapter on the device that computes now, or what holds its name where it cannot be read. */
export async function adapterAgain(adapter: Adapter, params: ModelParams): Promise<Adapter> {
  const { name, rank, parameters } = adapter;
  const gone = (why: string): Adapter => ({
    name,
    rank,
    parameters,
    terms: new Map(),
    lost: why,
    dispose: () => {},
  });
  if (!adapter.reload) return gone(adapter.lost ?? 'it was made in memory, or its source is not known');
  let fresh: Adapter;
  try {
    fresh = await adapter.reload();
  } catch (error) {
    if (error instanceof DeviceError) throw error;
    return gone((error as Error).message);
  }
  try {
    const measured = await gpuCall('restore', () => measureDora(fresh, params));
    return { ...measured.adapter, name, reload: adapter.reload };
  } catch (error) {
    fresh.dispose();
    throw error;
  }
}
