import type { LoraActivation } from '../../../kernels/index.ts';
import type { ModelParams } from '../../params.ts';
import { inVectors, outVectors, readFactors } from '../algebra/factors.ts';
import { productSvd } from '../algebra/svd.ts';
import { checkPlain } from '../check-plain.ts';
import type { Adapter } from '../with-adapters.ts';
import { modulePlace } from './module-place.ts';
import { weightNorms } from './weight-norms.ts';

/** What an adapter does to one linear map. ΔW = scale · (A B)ᵀ; with a ReLU between, the numbers are those without it. */
export type ModuleReport = {
  readonly module: string;
  /** `layer` is null outside a tower of blocks. */
  readonly layer: number | null;
  /** The map's own name, as `q_proj`. */
  readonly kind: string;
  readonly inSize: number;
  readonly outSize: number;
  readonly rank: number;
  readonly scale: number;
  readonly activation: LoraActivation;
  readonly parameters: number;
  /** ‖ΔW‖_F */
  readonly frobenius: number;
  /** ‖ΔW‖₂, the largest singular value: how much the longest-stretched direction gets. */
  readonly spectral: number;
  /** ‖ΔW‖_F / ‖W‖_F; null without base weights. */
  readonly relative: number | null;
  /** ‖ΔW‖_F² / ‖ΔW‖₂²: how many directions as strong as the strongest would make this norm. 0 where ΔW is 0. */
  readonly stableRank: number;
  /** exp of the entropy of the singular values as parts of their sum (Roy and Vetterli 2007). 0 where ΔW is 0. */
  readonly effectiveRank: number;
  /** The `rank` largest of ΔW, falling. */
  readonly singularValues: readonly number[];
};

export type AdapterReport = {
  readonly name: string;
  readonly rank: number;
  readonly parameters: number;
  /** √Σ ‖ΔW‖_F² over all modules. */
  readonly frobenius: number;
  readonly modules: readonly ModuleReport[];
};

export type InspectOptions = {
  /** The base weights, for the relative norms. Streamed ones are read once more. */
  readonly params?: ModelParams;
  readonly onProgress?: (done: number, total: number) => void;
  readonly signal?: AbortSignal;
};

/**
 * Measures an adapter, module by module, in double precision on the CPU: under a second each at 2048 × 11008.
 * @throws InputError for a DoRA, a bias of B, or replaced maps
 */
export async function inspectAdapter(adapter: Adapter, options: InspectOptions = {}): Promise<AdapterReport> {
  const { params, onProgress, signal } = options;
  checkPlain(adapter, 'inspected');
  const base = params && (await weightNorms(params, new Set(adapter.terms.keys()), signal));
  const modules: ModuleReport[] = [];
  for (const [module, term] of adapter.terms) {
    signal?.throwIfAborted();
    const factors = await readFactors(term);
    const { inSize, outSize, rank, scale, activation } = factors;
    const { s } = productSvd(inVectors(factors), outVectors(factors));
    const values = Array.from(s, (x) => x * Math.abs(scale));
    const frobenius = Math.hypot(...values);
    const weight = base?.get(module);
    modules.push({
      module,
      ...modulePlace(module),
      inSize,
      outSize,
      rank,
      scale,
      activation,
      parameters: rank * (inSize + outSize),
      frobenius,
      spectral: values[0],
      relative: weight === undefined ? null : frobenius / weight,
      ...ranksOf(values),
      singularValues: values,
    });
    onProgress?.(modules.length, adapter.terms.size);
    await new Promise((resolve) => setTimeout(resolve)); // a page stays alive, an abort gets its turn
  }
  const { name, rank, parameters } = adapter;
  return { name, rank, parameters, frobenius: Math.hypot(...modules.map((m) => m.frobenius)), modules };
}

/** Of singular values, falling. */
export function ranksOf(values: readonly number[]): { stableRank: number; effectiveRank: number } {
  const sum = values.reduce((a, b) => a + b, 0);
  if (sum === 0) return { stableRank: 0, effectiveRank: 0 };
  const entropy = values.reduce((h, v) => (v > 0 ? h - (v / sum) * Math.log(v / sum) : h), 0);
  const energy = values.reduce((e, v) => e + (v / values[0]) ** 2, 0);
  return { stableRank: energy, effectiveRank: Math.exp(entropy) };
}
