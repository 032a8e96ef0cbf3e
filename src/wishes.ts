import { looksLikeMix, mixLabel, parseMix } from './adapters/mix.ts';
import type { Settings } from './config.ts';
import { InputError } from './errors.ts';
import type { ModelConfig } from './model-config.ts';

// What a caller may ask of a checkpoint, judged by its small files alone: a mistyped word must not cost the reading of
// eight gigabytes first.

/** @throws InputError for a Matryoshka size that the checkpoint was not trained for */
export function checkSizes({ matryoshkaDims }: ModelConfig, truncateDim: number | null): void {
  if (truncateDim === null || matryoshkaDims.includes(truncateDim)) return;
  throw new InputError(
    `truncateDim ${truncateDim} is not a size this model was trained for (${matryoshkaDims.join(', ')}); ` +
      'use the next larger one and cut the rest yourself',
  );
}

/** What runs for a task: its own adapter, the one its alias names, or a mix of such; null for the backbone alone. */
export function adapterFor(
  task: string | null,
  settings: Settings,
  adapters: readonly string[],
  model: string,
): string | null {
  const { taskAliases } = settings;
  if (task === null || adapters.includes(task)) return task;
  const alias = taskAliases[task];
  if (alias !== undefined && adapters.includes(alias)) return alias;
  if (looksLikeMix(task)) {
    const parts = parseMix(task).map(({ name, weight }) => {
      const adapter =
        looksLikeMix(name) && !adapters.includes(name) ? null : adapterFor(name, settings, adapters, model);
      if (adapter === null) throw unknownTask(name, settings, adapters, model);
      return { name: adapter, weight };
    });
    return mixLabel(parts);
  }
  throw unknownTask(task, settings, adapters, model);
}

function unknownTask(
  task: string,
  { taskAliases }: Settings,
  adapters: readonly string[],
  model: string,
): InputError {
  const names = tasksOf(adapters, taskAliases).join(', ') || 'no adapters';
  return new InputError(
    `unknown task "${task}"; ${model} has ${names} (null runs the backbone alone, a*0.7 + b*0.3 mixes)`,
  );
}

/** Tasks that can be asked for: the adapters, and the aliases that lead to one. */
export const tasksOf = (adapters: readonly string[], aliases: Settings['taskAliases']): readonly string[] => [
  ...adapters,
  ...Object.entries(aliases).flatMap(([name, to]) =>
    !adapters.includes(name) && adapters.includes(to) ? [name] : [],
  ),
];
