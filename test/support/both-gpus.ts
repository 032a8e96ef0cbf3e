import { afterAll, afterEach, beforeAll, describe } from 'vitest';
import { chooseAsIfEmulated } from '../../kernels/webgpu/emulation.ts';
import { BACKENDS, startBackend } from './backends.ts';
import { checkGpu } from './gpu.ts';

const KINDS = [
  ['a GPU', false],
  ['an emulated GPU', true],
] as const;

/** A suite on WebGPU with the plans that a GPU gets, and with those of an emulated one. Where it is skipped, backends.ts says why. */
export function onBothGpus(title: string, suite: () => void): void {
  describe.skipIf(!BACKENDS.includes('webgpu')).each(KINDS)(
    `${title}, as for %s`,
    { timeout: 300_000 },
    (_, emulated) => {
      beforeAll(async () => {
        await startBackend('webgpu');
        chooseAsIfEmulated(emulated);
      });
      afterAll(() => chooseAsIfEmulated(null));
      afterEach(checkGpu);
      suite();
    },
  );
}
