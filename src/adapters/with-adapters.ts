import type { LoraTerm } from '../../kernels/index.ts';
import type { Linear } from '../layers/linear.ts';
import { mapLinears } from '../params.ts';

/** A LoRA in memory: low-rank terms by module path. Its tensors belong to it and live until `dispose`. */
export type Adapter = {
  readonly name: string;
  readonly rank: number;
  readonly terms: ReadonlyMap<string, LoraTerm>;
  readonly parameters: number;
  dispose(): void;
};

/** An adapter with a factor on all its terms: `weigh(mine, 0.3)`. Shares every tensor. */
export const weigh = (adapter: Adapter, factor: number): Adapter => ({
  ...adapter,
  terms: new Map([...adapter.terms].map(([name, term]) => [name, { ...term, scale: term.scale * factor }])),
  dispose: () => {}, // the tensors belong to the original
});

/** The same parameters with these adapters on, and no others. Several add up. Shares every tensor; creates none. */
export const withAdapters = <T>(params: T, ...adapters: readonly Adapter[]): T =>
  mapLinears(params, (l: Linear) => ({ ...l, lora: adapters.flatMap((a) => a.terms.get(l.name) ?? []) }));
