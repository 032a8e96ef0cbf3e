import { webgpuBackend } from './backend.ts';

let asIf: boolean | null = null;

/** Whether the GPU that computes is one that a CPU emulates: what costs most there costs a real one nothing. */
export const isEmulated = (): boolean => asIf ?? webgpuBackend().device.adapterInfo.isFallbackAdapter;

/** Has shaders chosen for the one kind or the other, whatever computes, as tests do; null: for what it is. */
export function chooseAsIfEmulated(emulated: boolean | null): void {
  asIf = emulated;
}
