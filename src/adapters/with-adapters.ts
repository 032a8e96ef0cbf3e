import type * as tf from '@tensorflow/tfjs-core';
import { type EmbeddingTable, type LoraTerm, loraTable, type Matrix } from '../../kernels/index.ts';
import { TOKEN_TABLE } from '../../weights/names.ts';
import { DeviceLostError, InputError } from '../errors.ts';
import type { Linear } from '../layers/linear.ts';
import { mapLeaves } from '../params.ts';

/** A linear map that an adapter brings along whole (PEFT's `modules_to_save`), or its bias alone (`bias: all`, `lora_only`). */
export type SavedMap =
  | { readonly weight: Matrix; readonly bias: tf.Tensor1D | null }
  | { readonly weight?: undefined; readonly bias: tf.Tensor1D };

/** A norm that an adapter brings along, and its place in the tree of parameters. */
export type SavedNorm = { readonly place: string; readonly weight: tf.Tensor1D };

/** A LoRA in memory: low-rank terms by module path. Its tensors belong to it and live until `dispose`. */
export type Adapter = {
  readonly name: string;
  readonly rank: number;
  /** Of the token table, too: there A is [V, R], a float32 tensor that is looked up. */
  readonly terms: ReadonlyMap<string, LoraTerm>;
  readonly parameters: number;
  /** Maps that it replaces, or their biases. Not given: none. */
  readonly saved?: ReadonlyMap<string, SavedMap>;
  /** Norms that it replaces, by module path. */
  readonly norms?: ReadonlyMap<string, SavedNorm>;
  /** The token table that it replaces. */
  readonly table?: EmbeddingTable;
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
 * @throws InputError for an adapter with replaced parts, which are there or not
 */
export function weigh(adapter: Adapter, factor: number): Adapter {
  const replaced = replacedParts(adapter);
  if (replaced !== null && factor !== 1) {
    throw new InputError(
      `adapter "${adapter.name}" replaces ${replaced} and cannot be weighed by ${factor}; run it alone, or at weight 1`,
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
 * @throws InputError where one adapter replaces a part that another one changes, too; DeviceLostError for one that is gone
 */
export function withAdapters<T>(params: T, ...adapters: readonly Adapter[]): T {
  checkThere(adapters);
  checkReplaced(adapters);
  const norms = new Map(
    adapters.flatMap((a) => [...(a.norms?.values() ?? [])].map((n) => [n.place, n.weight])),
  );
  const linear = (l: Linear): Linear => {
    const replaced = adapters.flatMap((a) => a.saved?.get(l.name) ?? [])[0];
    return { ...l, ...replaced, lora: adapters.flatMap((a) => a.terms.get(l.name) ?? []) };
  };
  const table = (base: EmbeddingTable): EmbeddingTable => {
    const own = adapters.flatMap((a) => a.table ?? [])[0] ?? base;
    const terms = adapters.flatMap((a) => a.terms.get(TOKEN_TABLE) ?? []);
    return terms.length > 0 ? loraTable(own, terms) : own;
  };
  return mapLeaves(params, { linear, table, tensor: (t, place) => norms.get(place) ?? t });
}

/** @throws DeviceLostError for an adapter that went with its GPU: what is left of it would run as the backbone alone */
export function checkThere(adapters: readonly Adapter[]): void {
  const gone = adapters.find(({ lost }) => lost !== undefined);
  if (!gone) return;
  throw new DeviceLostError(
    `adapter "${gone.name}" was lost with the GPU device and cannot be read again (${gone.lost}); add it again`,
  );
}

/** The modules that an adapter changes or replaces. */
export const modulesOf = ({ terms, saved, norms, table }: Adapter): readonly string[] => [
  ...terms.keys(),
  ...(saved?.keys() ?? []),
  ...(norms?.keys() ?? []),
  ...(table ? [TOKEN_TABLE] : []),
];

const NAMED = 4;

/** What an adapter replaces, in words; null where it only adds. */
export function replacedParts({ saved = new Map(), norms = new Map(), table }: Adapter): string | null {
  const whole = [...saved].flatMap(([module, { weight }]) => (weight ? [module] : []));
  const biases = [...saved].flatMap(([module, { weight }]) => (weight ? [] : [`${module}.bias`]));
  const parts = [...whole, ...norms.keys(), ...(table ? [TOKEN_TABLE] : []), ...biases];
  if (parts.length === 0) return null;
  const shown = parts.slice(0, NAMED).join(', ');
  const more = parts.length > NAMED ? ` and ${parts.length - NAMED} more` : '';
  const why = [parts.length > biases.length && 'modules_to_save', biases.length > 0 && 'bias'].filter(
    Boolean,
  );
  return `${shown}${more} (${why.join(', ')})`;
}

function checkReplaced(adapters: readonly Adapter[]): void {
  for (const a of adapters) {
    const clash = (module: string, whole: boolean): void => {
      const replaces = (b: Adapter) =>
        b.saved?.has(module) || b.norms?.has(module) || (module === TOKEN_TABLE && b.table !== undefined);
      const other = adapters.find((b) => b !== a && (replaces(b) || (whole && b.terms.has(module))));
      if (!other) return;
      const what = whole ? `${module} (modules_to_save)` : `the bias of ${module}`;
      throw new InputError(
        `adapters "${a.name}" and "${other.name}" cannot run together: the first replaces ${what}, ` +
          'which the second changes, too',
      );
    };
    for (const [module, { weight }] of a.saved ?? []) clash(module, weight !== undefined);
    for (const module of a.norms?.keys() ?? []) clash(module, true);
    if (a.table) clash(TOKEN_TABLE, true);
  }
}
