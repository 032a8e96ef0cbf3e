import { InputError } from '../errors.ts';

/** Learning rate of update 0, 1, 2, … */
export type Schedule = (update: number) => number;

/**
 * Rises evenly to `peak` over `warmup` updates, then falls along half a cosine to `floor` at update `total`
 * (Loshchilov & Hutter 2017; transformers: get_cosine_schedule_with_warmup).
 */
export function warmupCosine({
  peak,
  warmup,
  total,
  floor = 0,
}: {
  readonly peak: number;
  readonly warmup: number;
  readonly total: number;
  readonly floor?: number;
}): Schedule {
  if (!(warmup >= 0 && total > warmup)) {
    throw new InputError(`a warm-up of ${warmup} updates does not fit into ${total}; make it shorter`);
  }
  return (update) => {
    if (update < warmup) return (peak * (update + 1)) / warmup;
    const part = Math.min(1, (update - warmup) / (total - warmup));
    return floor + ((peak - floor) * (1 + Math.cos(Math.PI * part))) / 2;
  };
}

export const constantRate =
  (rate: number): Schedule =>
  () =>
    rate;
