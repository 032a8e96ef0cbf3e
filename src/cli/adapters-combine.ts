import { Command, InvalidArgumentError, Option } from 'commander';
import { MAJORITY_SIGNS, type MajoritySign } from '../adapters/combine/merge-values.ts';
import {
  COMBINATION_TYPES,
  type CombinationType,
  combinationOf,
  type RecipeOptions,
} from '../adapters/combine/recipe.ts';
import type { Adapter } from '../adapters/with-adapters.ts';
import { InputError } from '../errors.ts';
import { ADAPTER_WORDS, openAdapters } from './adapter-sources.ts';
import { count, duration } from './amounts.ts';
import { UsageError } from './exit.ts';
import { notEmpty, wholeNumber } from './option-values.ts';
import { type GlobalOptions, modelOption, withExamples } from './options.ts';
import { action, type Session } from './session.ts';

/** Writes an adapter into a folder as PEFT does. */
export type SaveAdapter = (adapter: Adapter, folder: string) => Promise<void>;

type CombineOptions = GlobalOptions & {
  readonly output: string;
  readonly model?: string;
  readonly weights?: readonly number[];
  readonly type?: CombinationType;
  readonly density?: number;
  readonly majoritySign?: MajoritySign;
  readonly svdRank?: number;
  readonly svdClamp?: number;
  readonly seed?: number;
  readonly name?: string;
};

export function combineCommand(signal: AbortSignal, save: SaveAdapter): Command {
  const command = new Command('combine')
    .description("one adapter out of several, by PEFT's methods, written as a PEFT folder")
    .argument('<adapter...>', 'what goes in')
    .requiredOption('-o, --output <folder>', 'where the result goes', notEmpty)
    .addOption(modelOption())
    .option('-w, --weights <list>', 'a number for each, with commas between (default: 1 each)', numbers)
    .addOption(new Option('--type <type>', 'how (default: svd)').choices(COMBINATION_TYPES))
    .option('--density <part>', 'the part of the entries that stays, 0 to 1, for types that prune', number)
    .addOption(new Option('--majority-sign <how>', 'how ties elects signs').choices(MAJORITY_SIGNS))
    .option('--svd-rank <n>', 'rank of the result (default: the largest that goes in)', wholeNumber)
    .option('--svd-clamp <part>', 'clamp the result to this quantile of its values', number)
    .option('--seed <n>', 'of what dare drops (default: 0)', number)
    .option('--name <name>', 'what the result is called (default: the names, joined by +)', notEmpty)
    .addHelpText('after', ADAPTER_WORDS)
    .action(
      action<CombineOptions>(signal, (options, session, words) => combine(words, options, session, save)),
    );
  return withExamples(
    command,
    'jina-embeddings adapters combine retrieval ./my-lora --weights 0.7,0.3 --type cat --output ./mixed',
    'jina-embeddings adapters combine a b --type ties --density 0.3 --output ./mixed',
  );
}

async function combine(
  words: readonly string[],
  options: CombineOptions,
  session: Session,
  save: SaveAdapter,
): Promise<void> {
  const { terminal, signal } = session;
  const { output, model, weights = words.map(() => 1), json, ...how } = options;
  checkUsage(how, words, weights);
  using opened = await openAdapters(words, model, session);
  const { combineAdapters } = await import('../adapters/combine/combine-adapters.ts');
  const progress = await terminal.progress('combining', (done, total) => `${done} of ${total} modules`);
  const begin = performance.now();
  let result: Adapter;
  try {
    result = await combineAdapters(opened.adapters, weights, { ...how, signal, onProgress: progress.update });
  } finally {
    progress.stop();
  }
  try {
    await save(result, output);
    const { name, rank, parameters, terms } = result;
    const seconds = (performance.now() - begin) / 1000;
    await terminal.print(
      json || terminal.columns === null
        ? `${JSON.stringify({ name, rank, parameters, modules: terms.size, output })}\n`
        : `${name}: rank ${rank}, ${count(parameters)} parameters on ${terms.size} maps, in ${duration(seconds)} → ${output}\n`,
    );
  } finally {
    result.dispose();
  }
}

/** A mistyped option is told before anything is read. */
function checkUsage(how: RecipeOptions, words: readonly string[], weights: readonly number[]): void {
  if (weights.length !== words.length)
    throw new UsageError(
      `there are ${words.length} adapters but ${weights.length} --weights; give one for each`,
    );
  try {
    combinationOf(how);
  } catch (error) {
    if (error instanceof InputError) throw new UsageError(error.message);
    throw error;
  }
}

function number(word: string): number {
  const value = Number(word);
  if (word.trim() !== '' && Number.isFinite(value)) return value;
  throw new InvalidArgumentError('Expected a number.');
}

const numbers = (words: string): readonly number[] => words.split(',').map(number);
