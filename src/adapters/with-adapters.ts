import type * as tf from '@tensorflow/tfjs-core';
import type { LoraTerm, Matrix } from '../../kernels/index.ts';
import { DeviceLostError, InputError } from '../errors.ts';
import type { Linear } from '../layers/linear.ts';
import { mapLinears } from '../params.ts';

/** A linear map that an adapter brings along whole (PEFT's `modules_to_save`). */
export type SavedMap = { readonly weight: Matrix; readonly bias: tf.Tensor1D | null };

/** A LoRA in memory: low-rank terms by module path. Its tensors belong to it and live until `dispose`. */
export type Adapter = {
  readonly name: string;
  readonly rank: number;
  readonly terms: ReadonlyMap<string, LoraTerm>;
  readonly parameters: number;
  /** Maps that it replaces. Not given: none. */
  readonly saved?: ReadonlyMap<string, SavedMap>;
  /** Shapes of the weights of those maps that are convolutions in the checkpoint; only files need them. */
  readonly kernels?: ReadonlyMap<string, readonly number[]>;
  /** Reads it again from where it came from, onto the device that computes now. Not given: it was made in memory. */
  readonly reload?: () => Promise<Adapter>;
  /** It went with a GPU that was lost and could not be read again, and why. It holds a name and a place, and cannot run. */
  readonly lost?: string;
  dispose(): void;
};

/**
 * An adapter with a factor on the change that it makes: `weigh(mine, 0.3)`. Shares every tensor.
 * @throws InputError for an adapter with replaced maps, which are there or not
 */
export function weigh(adapter: Adapter, factor: number): Adapter {
  if (adapter.saved?.size && factor !== 1) {
    throw new InputError(
      `adapter "${adapter.name}" replaces ${[...adapter.saved.keys()].join(', ')} (modules_to_save) and cannot be weighed ` +
        `by ${factor}; run it alone, or at weight 1`,
    );
  }
  return {
    ...adapter,
    terms: new Map([...adapter.terms].map(([name, term]) => [name, weighTerm(term, factor)])),
    reload: undefined,
    dispose: () => {}, // the tensors belong to the original
  };
}

// The lengths in a DoRA term were measured with its scale, so its weight stands apart.
const weighTerm = (term: LoraTerm, factor: number): LoraTerm =>
  term.dora
    ? { ...term, dora: { ...term.dora, weight: term.dora.weight * factor } }
    : { ...term, scale: term.scale * factor };

/**
 * The same parameters with these adapters on, and no others. Shares every tensor; creates none. Several add up, in their
 * order, which counts where one is a DoRA (as in PEFT, it stretches what stands before it).
 * @throws InputError where one adapter replaces a map that another one changes, too; DeviceLostError for one that is gone
 */
export function withAdapters<T>(params: T, ...adapters: readonly Adapter[]): T {
  checkThere(adapters);
  checkReplaced(adapters);
  return mapLinears(params, (l: Linear) => {
    const replaced = adapters.flatMap((a) => a.saved?.get(l.name) ?? [])[0];
    return { ...l, ...replaced, lora: adapters.flatMap((a) => a.terms.get(l.name) ?? []) };
  });
}

/** @throws DeviceLostError for an adapter that went with its GPU: what is left of it would run as the backbone alone */
export function checkThere(adapters: readonly Adapter[]): void {
  const gone = adapters.find(({ lost }) => lost !== undefined);
  if (!gone) return;
  throw new DeviceLostError(
    `adapter "${gone.name}" was lost with the GPU device and cannot be read again (${gone.lost}); add it again`,
  );
}

function checkReplaced(adapters: readonly Adapter[]): void {
  for (const a of adapters) {
    for (const module of a.saved?.keys() ?? []) {
      const other = adapters.find((b) => b !== a && (b.saved?.has(module) || b.terms.has(module)));
      if (other) {
        throw new InputError(
          `adapters "${a.name}" and "${other.name}" cannot run together: the first replaces ${module} (modules_to_save), ` +
            'which the second changes, too',
        );
      }
    }
  }
}
