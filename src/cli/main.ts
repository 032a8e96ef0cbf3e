#!/usr/bin/env node
import { Command, CommanderError } from 'commander';
import { adaptersCommand } from './adapters.ts';
import type { SaveAdapter } from './adapters-combine.ts';
import { demoCommand } from './demo.ts';
import { doctorCommand } from './doctor.ts';
import { embedCommand } from './embed.ts';
import { evaluateCommand } from './evaluate.ts';
import { abortOnInterrupt, EXIT, Interrupted, isBrokenPipe, UsageError } from './exit.ts';
import { infoCommand } from './info.ts';
import { addGlobalOptions, withExamples } from './options.ts';
import { packageVersion } from './package-folder.ts';
import { profileCommand } from './profile.ts';
import { quantizeCommand } from './quantize.ts';
import { similarityCommand } from './similarity.ts';
import { printError } from './terminal.ts';
import { trainCommand } from './train.ts';

// Commands are a few options each; what they run (TF.js, sharp, the model) is imported when one is called, so that help and
// mistakes are answered at once.

const ABOUT = 'jina-embeddings-v4 on TensorFlow.js: texts and images into one vector space.';
const EXIT_CODES = '\nExit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.';
const SETTINGS =
  '\nEvery setting is also read from JINA_EMBEDDINGS_<NAME>, as in JINA_EMBEDDINGS_BATCH_SIZE=4.';

const saveAdapter: SaveAdapter = async (adapter, folder) =>
  (await import('../platform/node-adapter.ts')).saveAdapter(adapter, folder);

function buildProgram(signal: AbortSignal): Command {
  const program = addGlobalOptions(new Command('jina-embeddings'))
    .description(ABOUT)
    .version(packageVersion(), '-V, --version')
    .enablePositionalOptions(); // what follows `--text` is a text, even when it looks like an option of ours
  for (const command of [
    embedCommand,
    similarityCommand,
    infoCommand,
    (signal: AbortSignal) => adaptersCommand(signal, saveAdapter),
    evaluateCommand,
    (signal: AbortSignal) => trainCommand(signal, saveAdapter),
    quantizeCommand,
    profileCommand,
    doctorCommand,
    demoCommand,
  ])
    program.addCommand(addGlobalOptions(command(signal))); // last, so that help lists the command's own first
  for (const command of withThoseBelow(program)) {
    command.exitOverride().configureOutput({
      outputError: (text) =>
        printError(
          text
            .trim()
            .replace(/^error: /, '')
            .replace(/\n/g, ' '),
        ),
    });
  }
  withExamples(
    program,
    'jina-embeddings demo',
    'jina-embeddings embed --text "hello"',
    'jina-embeddings embed --help',
  );
  return program.addHelpText('after', SETTINGS + EXIT_CODES);
}

const withThoseBelow = (command: Command): readonly Command[] => [
  command,
  ...command.commands.flatMap(withThoseBelow),
];

/** The exit code for an error, after telling it. */
function tell(error: unknown, signal: AbortSignal): number {
  if (isBrokenPipe(error)) return EXIT.ok;
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage; // commander has told it
  if (signal.aborted) {
    printError('interrupted');
    return signal.reason instanceof Interrupted ? signal.reason.code : EXIT.interrupted;
  }
  const { message, stack } = error instanceof Error ? error : new Error(String(error));
  const debug = process.argv.includes('--debug') || Boolean(process.env.DEBUG);
  printError(debug && stack ? stack : message);
  return error instanceof UsageError ? EXIT.usage : EXIT.failure;
}

async function main(): Promise<number> {
  const signal = abortOnInterrupt();
  process.stdout.on('error', () => {}); // each write tells its own failure; without a listener the process would crash
  try {
    await buildProgram(signal).parseAsync();
    return EXIT.ok;
  } catch (error) {
    return tell(error, signal);
  }
}

// Not left to the end of the event loop: a server's open connection or a half-read stdin must not keep a finished command.
process.exit(await main());
