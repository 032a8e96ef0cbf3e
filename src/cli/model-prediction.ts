import type { PlannedBatch } from '../activation-plan.ts';
import { loraSizes } from '../adapter-sizes.ts';
import type { BackendName } from '../device-engine.ts';
import { type GpuPlan, type GpuPlanInputs, planGpu } from '../gpu-plan.ts';
import {
  chooseResidence,
  type MemoryPlan,
  PLANNED_BATCHES,
  type PlanInputs,
  planMemory,
} from '../memory-plan.ts';
import { type ModelConfig, parseModelConfig } from '../model-config.ts';
import { modelSpec, parameterCount } from '../params.ts';
import type { CheckpointSummary } from './checkpoint-summary.ts';
import { PUBLISHED_ADAPTERS, PUBLISHED_CONFIG } from './published-config.ts';

/** What a process that runs this model is expected to take, by how the weights are kept. */
export type Prediction = {
  readonly name: string;
  readonly peaks: readonly (Omit<MemoryPlan, 'residence' | 'total'> & {
    readonly residence: string;
    readonly bytes: number;
    readonly fits: boolean;
  })[];
  /** GPU memory (WebGPU), by how the linear maps are kept there. */
  readonly gpu: readonly GpuPlan[];
  /** The one that `auto` would take with the memory that is free now. */
  readonly residence: string;
};

/** Where it would run. `ownMemory`: see `hasOwnMemory`. */
export type Circumstances = {
  readonly backend: BackendName;
  readonly ownMemory: boolean;
  readonly free: number | null;
  readonly batches?: readonly PlannedBatch[];
};

type Measures = Pick<PlanInputs, 'weightBytes' | 'tableBytes' | 'adapters' | 'tokenizerTokens'> &
  Pick<GpuPlanInputs, 'stored'>;

/** For a checkpoint that is here. */
export const predictCheckpoint = (s: CheckpointSummary, where: Circumstances): Prediction =>
  predict(s.model, s.config, where, { ...s.sizes, ...s.onGpu, tokenizerTokens: s.tokenizer.tokens });

/** For the published checkpoint, which need not be. */
export function predictPublished(where: Circumstances): Prediction {
  const config = parseModelConfig(PUBLISHED_CONFIG);
  return predict('published jina-embeddings-v4', config, where, {
    weightBytes: 2,
    tableBytes: 2,
    adapters: loraSizes(modelSpec(config), PUBLISHED_ADAPTERS.count, PUBLISHED_ADAPTERS.rank),
    tokenizerTokens: config.decoder.vocabSize,
  });
}

function predict(
  name: string,
  config: ModelConfig,
  { backend, ownMemory, free, batches = PLANNED_BATCHES }: Circumstances,
  measures: Measures,
): Prediction {
  const spec = modelSpec(config);
  const plans = planMemory({ config, spec, backend, ownMemory, batches, ...measures });
  const fits = (residence: MemoryPlan['residence']) => {
    try {
      chooseResidence(residence, backend, plans, free);
      return true;
    } catch {
      return false; // more than is free, or than the backend can address
    }
  };
  return {
    name: `${name}, ${(parameterCount(spec) / 1e6).toLocaleString('en-US', { maximumFractionDigits: 1 })} million parameters`,
    peaks: plans.map(({ total, ...parts }) => ({ ...parts, bytes: total, fits: fits(parts.residence) })),
    gpu: planGpu({ config, spec, batches, ...measures }),
    residence: chooseResidence('auto', backend, plans, free).residence,
  };
}
