import type { LoraTerm, Span } from '../../kernels/index.ts';
import { TOKEN_TABLE } from '../../weights/names.ts';
import { InputError } from '../errors.ts';
import { type Adapter, replacedParts } from './with-adapters.ts';

/**
 * What keeps an adapter from sharing a pass with inputs that do without it, in words; null where nothing does. A term of a map
 * can be for some rows; what is replaced, or looked up by token, is there for all.
 */
function wholeParts(adapter: Adapter): string | null {
  const replaced = replacedParts(adapter);
  if (replaced !== null) return `replaces ${replaced}`;
  return adapter.terms.has(TOKEN_TABLE) ? `changes ${TOKEN_TABLE}` : null;
}

/** Whether an adapter can be for some inputs of a pass, and not for others. */
export const canShare = (adapter: Adapter): boolean => wholeParts(adapter) === null;

/**
 * The adapters of a packed stream whose inputs each have their own: every one is for the rows of its inputs. Shares all tensors.
 * choices: adapters of each sequence, whose ids are its rows
 * @throws InputError for an adapter that cannot be for some rows only
 */
export function byInput(
  choices: readonly (readonly Adapter[])[],
  sequences: readonly { readonly ids: { readonly length: number } }[],
): readonly Adapter[] {
  if (choices.length !== sequences.length)
    throw new InputError(`there are ${sequences.length} sequences, but adapters for ${choices.length}`);
  const runs: { readonly choice: readonly Adapter[]; begin: number; end: number }[] = [];
  let begin = 0;
  for (const [i, choice] of choices.entries()) {
    const end = begin + sequences[i].ids.length;
    const last = runs[runs.length - 1];
    if (last && same(last.choice, choice)) last.end = end;
    else runs.push({ choice, begin, end });
    begin = end;
  }
  if (runs.length <= 1) return choices[0] ?? [];
  return runs.flatMap(({ choice, begin, end }) => choice.map((adapter) => onRows(adapter, { begin, end })));
}

const same = (a: readonly Adapter[], b: readonly Adapter[]): boolean =>
  a.length === b.length && a.every((adapter, i) => adapter === b[i]);

function onRows(adapter: Adapter, rows: Span): Adapter {
  const whole = wholeParts(adapter);
  if (whole !== null) {
    throw new InputError(
      `adapter "${adapter.name}" ${whole}, for all inputs of a pass; run those that have it by themselves`,
    );
  }
  return {
    ...adapter,
    terms: new Map([...adapter.terms].map(([name, term]): [string, LoraTerm] => [name, { ...term, rows }])),
    reload: undefined,
    dispose: () => {}, // the tensors belong to the original
  };
}
