import { Command } from 'commander';
import { combineCommand, type SaveAdapter } from './adapters-combine.ts';
import { compareCommand } from './adapters-compare.ts';
import { effectCommand } from './adapters-effect.ts';
import { inspectCommand } from './adapters-inspect.ts';
import { listCommand } from './adapters-list.ts';
import { addGlobalOptions } from './options.ts';

/** `adapters` and the commands below it. `save` writes what `combine` makes. */
export function adaptersCommand(signal: AbortSignal, save: SaveAdapter): Command {
  const command = new Command('adapters')
    .description('list, inspect, compare, combine adapters, and see what they do')
    .enablePositionalOptions(); // what follows `--text` is a text, here, too
  const below = [
    listCommand(signal),
    inspectCommand(signal),
    compareCommand(signal),
    effectCommand(signal),
    combineCommand(signal, save),
  ];
  for (const each of below) command.addCommand(addGlobalOptions(each));
  return command;
}
