import type { ModelConfig } from '../model-config.ts';
import { loraParameterCount, modelSpec, parameterCount } from '../params.ts';

/** Bytes a parameter takes in each form; scales of the quantised ones (one or two percent) are left out. */
export const BYTES_A_PARAMETER = { float32: 4, bfloat16: 2, int8: 1, int4: 0.5 } as const;

export type Dtype = keyof typeof BYTES_A_PARAMETER;
export type MemoryEstimate = Readonly<Record<Dtype, number>>;

/** Bytes that weights take in memory: the base in each form, plus adapters, which are always float32. */
export const memoryOf = (parameters: number, adapterParameters: number): MemoryEstimate => {
  const total = (dtype: Dtype) => parameters * BYTES_A_PARAMETER[dtype] + adapterParameters * 4;
  return { float32: total('float32'), bfloat16: total('bfloat16'), int8: total('int8'), int4: total('int4') };
};

/** What a geometry with this many adapters of one rank will take. Allocates nothing. */
export function estimate(config: ModelConfig, rank: number): { parameters: number; memory: MemoryEstimate } {
  const spec = modelSpec(config);
  const parameters = parameterCount(spec);
  return {
    parameters,
    memory: memoryOf(parameters, config.taskNames.length * loraParameterCount(spec, rank)),
  };
}
