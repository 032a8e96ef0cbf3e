/** Sizes of the matrices that a subgroup multiplies at once.   left: [M, K], right: [K, N] */
export type MatrixShape = { readonly M: number; readonly N: number; readonly K: number };

/** What a device can do beyond plain WGSL. */
export type Offers = {
  /** `shader-f16`: arithmetic in float16. */
  readonly half: boolean;
  /** `subgroups`: lanes that see each other's values. Sizes that a subgroup may have, where known. */
  readonly subgroups: { readonly least: number; readonly most: number } | null;
  /** Products of float16 matrices with float32 sums, by shape; none without `chromium-experimental-subgroup-matrix`. */
  readonly matrices: readonly MatrixShape[];
};

// Not in @webgpu/types: the feature is an experiment (Dawn: SubgroupMatrixConfig).
type MatrixConfig = MatrixShape & { readonly componentType: string; readonly resultComponentType: string };
type AdapterInfo = GPUAdapterInfo & { readonly subgroupMatrixConfigs?: Iterable<MatrixConfig> };

const known = new WeakMap<GPUDevice, Offers>();

/** Keeps what the adapter said of the device that it gave: Dawn's `device.adapterInfo` has no matrix shapes. */
export function noteOffers(device: GPUDevice, offers: Offers): void {
  known.set(device, offers);
}

export function offersOf(device: GPUDevice): Offers {
  let offers = known.get(device);
  if (!offers) {
    offers = offersFrom(device.features, device.adapterInfo);
    known.set(device, offers);
  }
  return offers;
}

/** Older browsers offer features without saying sizes: then the sizes that WebGPU allows. */
export function offersFrom(features: ReadonlySet<string>, info: GPUAdapterInfo | undefined): Offers {
  const {
    subgroupMinSize,
    subgroupMaxSize,
    subgroupMatrixConfigs = [],
  } = (info ?? {}) as Partial<AdapterInfo>;
  const half = features.has('shader-f16');
  const subgroups = features.has('subgroups')
    ? { least: subgroupMinSize || 4, most: subgroupMaxSize || 128 }
    : null;
  const matrices = features.has('chromium-experimental-subgroup-matrix') ? [...subgroupMatrixConfigs] : [];
  return {
    half,
    subgroups,
    matrices:
      half && subgroups
        ? matrices
            .filter((c) => c.componentType === 'f16' && c.resultComponentType === 'f32')
            .map(({ M, N, K }) => ({ M, N, K }))
        : [],
  };
}
