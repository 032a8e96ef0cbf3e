/** How a product is computed on WebGPU: plain WGSL, or with what some devices have beyond it. */
export const WAYS = ['plain', 'subgroups', 'half', 'matrix'] as const;
export type Way = (typeof WAYS)[number];

/** What a caller wishes of products, as far as the device can. */
export type KernelSettings = {
  /** Products may be made of float16 numbers, with float32 sums. */
  readonly half: boolean;
  /** Tried before what the table says, wherever it is possible. */
  readonly prefer: Way | null;
};

const DEFAULT: KernelSettings = { half: false, prefer: null };
let current = DEFAULT;

export const kernelSettings = (): KernelSettings => current;

/** Sets how products are computed from here on; what is not given is as at the start. → what held before, to be set again */
export function useKernels(settings: Partial<KernelSettings>): KernelSettings {
  const before = current;
  current = { ...DEFAULT, ...settings };
  return before;
}
