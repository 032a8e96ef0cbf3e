import { isPlain } from '../../kernels/index.ts';
import { InputError } from '../errors.ts';
import { type Adapter, replacedParts } from './with-adapters.ts';

/**
 * Whether all that an adapter does are changes scale · A B: what norms, spectra and combinations are made of. `what` is not
 * possible otherwise, as in "combined". @throws InputError naming the adapter, and what it has besides
 */
export function checkPlain(adapter: Adapter, what: string): void {
  const { name, terms } = adapter;
  const replaced = replacedParts(adapter);
  if (replaced !== null) {
    throw new InputError(`"${name}" replaces ${replaced}, which is no low-rank change; it cannot be ${what}`);
  }
  for (const [module, term] of terms) {
    if (isPlain(term)) continue;
    const more = term.dora ? 'is a DoRA, which scales by the norms of the whole weight,' : 'has a bias of B';
    throw new InputError(
      `"${name}" ${more} on ${module}: its change is more than two matrices; it cannot be ${what}`,
    );
  }
}
