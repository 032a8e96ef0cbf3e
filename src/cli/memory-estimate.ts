/** Bytes a parameter takes in each form; the scales of the quantised ones (a percent or two) are left out. */
const BYTES_A_PARAMETER = { float32: 4, bfloat16: 2, int8: 1, int4: 0.5 } as const;

export type MemoryEstimate = Readonly<Record<keyof typeof BYTES_A_PARAMETER, number>>;

/** Bytes that so many parameters take in each form. */
export const memoryOf = (parameters: number): MemoryEstimate => {
  const of = (bytes: number) => parameters * bytes;
  const { float32, bfloat16, int8, int4 } = BYTES_A_PARAMETER;
  return { float32: of(float32), bfloat16: of(bfloat16), int8: of(int8), int4: of(int4) };
};
