/**
 * What a stretch of code takes in memory above what was there before it: at its worst moment, and what it leaves behind.
 * In float32 values. A plan of these mirrors the code it stands for, tidy by tidy (src/activation-plan.ts).
 */
export type Live = { readonly peak: number; readonly left: number };

/** One op with one output. */
export const made = (values: number): Live => ({ peak: values, left: values });

/** What a `tf.tidy` takes: nothing that its steps leave is freed before its end, and then all but its result. */
export function tidy(result: number, ...steps: readonly Live[]): Live {
  let alive = 0;
  let peak = 0;
  for (const step of steps) {
    peak = Math.max(peak, alive + step.peak);
    alive += step.left;
  }
  return { peak, left: result };
}
