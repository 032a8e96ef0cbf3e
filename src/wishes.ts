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

/** The adapter that runs for a task: its own, or the one its alias names; null for the backbone alone. */
export function adapterFor(
  task: string | null,
  { taskAliases }: Settings,
  adapters: readonly string[],
  model: string,
): string | null {
  if (task === null || adapters.includes(task)) return task;
  const alias = taskAliases[task];
  if (alias !== undefined && adapters.includes(alias)) return alias;
  const names = tasksOf(adapters, taskAliases).join(', ') || 'no adapters';
  throw new InputError(`unknown task "${task}"; ${model} has ${names} (null runs the backbone alone)`);
}

/** Tasks that can be asked for: the adapters, and the aliases that lead to one. */
export const tasksOf = (adapters: readonly string[], aliases: Settings['taskAliases']): readonly string[] => [
  ...adapters,
  ...Object.entries(aliases).flatMap(([name, to]) =>
    !adapters.includes(name) && adapters.includes(to) ? [name] : [],
  ),
];
