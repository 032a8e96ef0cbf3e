import { storedBytes, type TensorEntry } from '../weights/safetensors.ts';
import { activationBytes, type PlannedBatch } from './activation-plan.ts';
import { type AdapterSizes, adapterBytes } from './adapter-sizes.ts';
import type { BackendName } from './device-engine.ts';
import { DeviceError } from './errors.ts';
import type { WeightResidence } from './load.ts';
import type { ModelConfig } from './model-config.ts';
import { elements, leavesOf, type ModelSpec, parameterCount } from './params.ts';

/** Predicted peak of the host's memory with one residence, in bytes, by what it is for. What a GPU holds: `planGpu`. */
export type MemoryPlan = {
  readonly residence: WeightResidence;
  /** The process with its backend loaded, before any model. */
  readonly runtime: number;
  readonly tokenizer: number;
  readonly weights: number;
  readonly adapters: number;
  /** Buffers that come and go: read-ahead, and what a batch of this size computes, widened matrices included. */
  readonly work: number;
  readonly total: number;
  /** Of the total, what must lie on the heap of a backend that has one (wasm): weights as they are kept, adapters, a batch. */
  readonly heap: number;
};

export type PlanInputs = {
  readonly config: ModelConfig;
  readonly spec: ModelSpec;
  readonly backend: BackendName;
  /** The device has memory of its own (`hasOwnMemory`): weights, adapters and what is computed are not the host's. */
  readonly ownMemory?: boolean;
  /** Bytes an element of the checkpoint's matrices, scales of quantised ones included, and of its token table. */
  readonly weightBytes: number;
  readonly tableBytes: number;
  readonly adapters: AdapterSizes;
  readonly tokenizerTokens: number;
  /** Batches that will run, one after the other. */
  readonly batches: readonly PlannedBatch[];
};

/** What a plan counts on where nothing is known of the inputs: 16 short texts, then a page of 896 × 644 pixels. */
export const PLANNED_BATCHES: readonly PlannedBatch[] = [
  { texts: new Array(16).fill(64), images: [] },
  { texts: [], images: [[1, 64, 46]] },
];

const MB = 1e6;

// Measured: resident memory of a process that has started the backend and multiplied two small matrices (bench/README.md).
const RUNTIME: Readonly<Record<BackendName, number>> = {
  tensorflow: 460 * MB,
  webgpu: 300 * MB,
  wasm: 165 * MB,
  cpu: 150 * MB,
};

// Measured with the Qwen2 vocabulary: maps and merge tables of the tokenizer library, and the JSON they were read from.
const BYTES_PER_TOKEN = 1000;

// Measured: resident memory that a batch adds, for each byte of tensors alive at its worst moment. Allocators keep gaps.
const SCATTER = 1.3;

const RESIDENCES: readonly WeightResidence[] = ['float32', 'bfloat16', 'streamed'];

/** Predicted peak of every residence, largest first. */
export const planMemory = (inputs: PlanInputs): readonly MemoryPlan[] =>
  RESIDENCES.map((r) => planOne(inputs, r));

function planOne(inputs: PlanInputs, residence: WeightResidence): MemoryPlan {
  const { spec, backend, weightBytes, tableBytes, tokenizerTokens } = inputs;
  const table = elements(spec.model.embedTokens.shape) * tableBytes;
  const others = parameterCount(spec) - elements(spec.model.embedTokens.shape);
  const resident = residence === 'float32' ? 4 : Math.min(weightBytes, 4);
  const blocks = [...spec.visual.blocks, ...spec.model.layers];
  const largestBlock = Math.max(...blocks.map(parameterCount));
  const outside = others - blocks.reduce((sum, b) => sum + parameterCount(b), 0);
  const runtime = RUNTIME[backend];
  const tokenizer = tokenizerTokens * BYTES_PER_TOKEN;
  if (inputs.ownMemory) {
    // The table stays here; the others pass through, in two groups of raw bytes.
    const weights = residence === 'streamed' ? 0 : table;
    const work = 2 * largestBlock * weightBytes;
    const total = runtime + tokenizer + weights + work;
    return { residence, runtime, tokenizer, weights, adapters: 0, work, total, heap: 0 };
  }
  const matrices =
    residence === 'streamed' ? outside * resident + largestBlock * weightBytes : others * resident;
  const weights = residence === 'streamed' ? matrices : table + matrices; // the table is no tensor anywhere
  // While a block is taken in, two groups of raw bytes lie beside it.
  const reading = residence === 'streamed' ? 2 * largestBlock * weightBytes : 0;
  const beside = residence === 'float32' ? 'float32' : 'narrow'; // never quantised
  const added = adapterBytes(inputs.adapters, beside);
  const adapters = added + inputs.adapters.tables;
  // WebAssembly and WebGPU multiply by packed words as they are; elsewhere a matrix is widened before its use.
  const packed = residence !== 'float32' && (backend === 'tensorflow' || backend === 'cpu');
  const form = { packed, rank: inputs.adapters.rank };
  const computed = Math.max(...inputs.batches.map((b) => activationBytes(inputs.config, spec, b, form)));
  const work = reading + SCATTER * computed;
  return {
    residence,
    runtime,
    tokenizer,
    weights,
    adapters,
    work,
    total: runtime + tokenizer + weights + adapters + work,
    heap: matrices + added + SCATTER * computed,
  };
}

/** What a plan needs to know about a checkpoint that is open. */
export function planInputs(
  config: ModelConfig,
  spec: ModelSpec,
  entries: ReadonlyMap<string, TensorEntry>,
  rest: Pick<PlanInputs, 'backend' | 'ownMemory' | 'adapters' | 'tokenizerTokens' | 'batches'>,
): PlanInputs {
  return { config, spec, ...storedSizes(spec, entries), ...rest };
}

/** Bytes an element in the files: of the linear maps' matrices, and of the token table. */
export function storedSizes(
  spec: ModelSpec,
  entries: ReadonlyMap<string, TensorEntry>,
): Pick<PlanInputs, 'weightBytes' | 'tableBytes'> {
  const mean = (names: readonly string[]) => {
    const found = names.flatMap((name) => entries.get(name) ?? []);
    const count = found.reduce((sum, e) => sum + elements(e.shape), 0);
    return found.reduce((sum, e) => sum + storedBytes(e), 0) / count;
  };
  return {
    weightBytes: mean(leavesOf(spec).flatMap((l) => (l.leaf === 'linear' ? [`${l.name}.weight`] : []))),
    tableBytes: mean([spec.model.embedTokens.name]),
  };
}

// 65,535 pages. Measured: tensors of 20 MB fill it to 4.28 GB.
const WASM_HEAP = 4_294_901_760;

/**
 * How much of the free memory, and of a WebAssembly heap, a choice of ours may take: the user's other programs want to live,
 * and longer inputs than planned come.
 */
const SHARE = { memory: 0.6, heap: 0.85 };
const ALL = { memory: 1, heap: 1 };

/** Whether a residence can run at all on this backend, whatever the machine has. */
const fitsBackend = (backend: BackendName, plan: MemoryPlan, share = 1): boolean =>
  backend !== 'wasm' || plan.residence === 'streamed' || plan.heap <= WASM_HEAP * share;

export type ResidenceChoice = { readonly residence: WeightResidence; readonly reason: string };

/**
 * The residence asked for, or the fastest whose predicted peak leaves the machine room.
 * @throws DeviceError before anything is loaded, with the residences that would fit, when the one asked for does not
 */
export function chooseResidence(
  wanted: WeightResidence | 'auto',
  backend: BackendName,
  plans: readonly MemoryPlan[],
  free: number | null,
): ResidenceChoice {
  const fits = (plan: MemoryPlan, { memory, heap } = ALL) =>
    fitsBackend(backend, plan, heap) && (free === null || plan.total <= free * memory);
  if (wanted === 'auto') {
    const comfortable = plans.find((p) => fits(p, SHARE)) ?? plans.find((p) => fits(p));
    const plan = comfortable ?? plans[plans.length - 1];
    const of = free === null ? '' : ` of ${gigabytes(free)} free`;
    return {
      residence: plan.residence,
      reason: `${plan.residence} weights: about ${gigabytes(plan.total)}${of}`,
    };
  }
  const plan = plans.find((p) => p.residence === wanted) as MemoryPlan;
  if (fits(plan)) return { residence: wanted, reason: `${wanted} weights: asked for by name` };
  const others = plans
    .filter((p) => p !== plan && fits(p))
    .map((p) => `${p.residence} (${gigabytes(p.total)})`);
  const limit = fitsBackend(backend, plan)
    ? `only ${gigabytes(free ?? 0)} are free`
    : 'a WebAssembly heap ends at 4 GB';
  throw new DeviceError(
    `residence "${wanted}" needs about ${gigabytes(plan.total)}, but ${limit}; ` +
      (others.length
        ? `these would fit: ${others.join(', ')}`
        : 'no residence fits: free memory, or use a smaller model'),
  );
}

const gigabytes = (bytes: number): string =>
  bytes < 1e9 ? `${Math.round(bytes / MB)} MB` : `${(bytes / 1e9).toFixed(1)} GB`;
