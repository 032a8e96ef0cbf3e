import type { Command } from 'commander';
import type { GlobalOptions } from './options.ts';
import { openTerminal, type Terminal } from './terminal.ts';

/** What a command works with besides its options. */
export type Session = { readonly terminal: Terminal; readonly signal: AbortSignal };

/** A command's function, as commander calls it: options of the command and of the program, and a session. */
export const action =
  <O extends GlobalOptions>(
    signal: AbortSignal,
    run: (options: O, session: Session, args: readonly string[]) => Promise<void>,
  ) =>
  async (...given: readonly unknown[]): Promise<void> => {
    const command = given[given.length - 1] as Command;
    const options = command.optsWithGlobals<O>();
    await run(options, { terminal: openTerminal(options), signal }, command.args);
  };
