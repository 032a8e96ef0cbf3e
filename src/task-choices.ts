import type { Settings } from './config.ts';
import type { EmbeddingModel } from './embedding-model.ts';
import { InputError } from './errors.ts';
import type { EncodeOptions } from './options.ts';
import type { Request } from './prepare.ts';
import { adapterFor } from './wishes.ts';

type TaskChoice = Pick<Request, 'task' | 'adapter' | 'choice'>;
type Embedder = { readonly model: EmbeddingModel; readonly name: string };

/**
 * Task and adapters of each of `count` inputs: one task for all of them, or one for each. Not given: the settings' task, or the
 * first adapter's. @throws InputError for a task that is not there, or another number of them
 */
export function taskChoices(
  { model, name }: Embedder,
  count: number,
  task: EncodeOptions['task'],
  settings: Settings,
): readonly TaskChoice[] {
  const known = new Map<string | null, TaskChoice>();
  const choose = (one: string | null): TaskChoice => {
    const found = known.get(one) ?? resolveTask(one);
    known.set(one, found);
    return found;
  };
  const resolveTask = (one: string | null): TaskChoice => {
    const { label, adapters } = model.resolve(adapterFor(one, settings, [...model.adapters.keys()], name));
    return { task: one, adapter: label, choice: adapters };
  };
  if (Array.isArray(task)) {
    if (task.length !== count)
      throw new InputError(
        `there are ${count} inputs but ${task.length} tasks; give one task, or one for each input`,
      );
    return task.map(choose);
  }
  const byDefault = settings.task ?? model.adapters.keys().next().value ?? null;
  const one = choose(task === undefined ? byDefault : (task as string | null));
  return new Array(count).fill(one);
}
