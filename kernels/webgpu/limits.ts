const NAMES = [
  'maxStorageBufferBindingSize',
  'maxComputeWorkgroupsPerDimension',
  'maxComputeInvocationsPerWorkgroup',
  'maxComputeWorkgroupSizeX',
] as const;

export type Limits = Readonly<Record<(typeof NAMES)[number], number>>;

const known = new WeakMap<GPUDevice, Limits>();

/** A device's limits that a dispatch asks for, read once: each look at the device's own is a call into the browser or Dawn. */
export function limitsOf(device: GPUDevice): Limits {
  let limits = known.get(device);
  if (!limits) {
    limits = Object.fromEntries(NAMES.map((name) => [name, device.limits[name]])) as Limits;
    known.set(device, limits);
  }
  return limits;
}
