import { webgpuBackend } from './backend.ts';

let asIf: boolean | null = null;
let looked: { readonly device: GPUDevice; readonly emulated: boolean } | null = null; // asked at every product

/** Whether the GPU that computes is one that a CPU emulates: what costs most there costs a real one nothing. */
export function isEmulated(): boolean {
  if (asIf !== null) return asIf;
  const { device } = webgpuBackend();
  if (device !== looked?.device) looked = { device, emulated: device.adapterInfo.isFallbackAdapter };
  return looked.emulated;
}

/** Has shaders chosen for the one kind or the other, whatever computes, as tests do; null: for what it is. */
export function chooseAsIfEmulated(emulated: boolean | null): void {
  asIf = emulated;
}
