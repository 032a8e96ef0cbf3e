import { type Command, Option } from 'commander';
import { DEVICE_NAMES, type DeviceName, RESIDENCES, type Residence, type Settings } from '../config.ts';
import { notEmpty, wholeNumber } from './option-values.ts';

/** What every command understands. */
export type GlobalOptions = {
  readonly quiet?: boolean;
  readonly json?: boolean;
  readonly debug?: boolean;
  readonly config?: string;
};

/** The `--task` that is no adapter: the backbone alone. */
export const NO_TASK = 'none';

/** What every command that runs a model understands. */
export type ModelOptions = GlobalOptions & {
  readonly model?: string;
  readonly task?: string;
  readonly prompt?: Settings['promptName'];
  readonly dim?: number;
  readonly multivector?: boolean;
  readonly device?: DeviceName;
  readonly residence?: Residence;
  readonly batchSize?: number;
  readonly maxPixels?: number;
  readonly maxLength?: number;
};

/** They may stand before the command's name as well as behind it. */
export const addGlobalOptions = (command: Command): Command =>
  command
    .option('-q, --quiet', 'no progress, notes or warnings')
    .option('--json', 'machine-readable output')
    .option('--config <file.json>', 'settings from a file; environment and options go before it')
    .option('--debug', 'show where an error came from');

const PROMPTS = ['query', 'passage', 'document'];

export const modelOption = (): Option =>
  new Option(
    '-m, --model <folder|url>',
    'checkpoint in the published layout (default: the small one in this package)',
  ).argParser(notEmpty);

export const promptOption = (flags: string, description: string): Option =>
  new Option(flags, description).choices(PROMPTS);

export const addModelOptions = (command: Command): Command =>
  addRunOptions(
    command
      .addOption(modelOption())
      .option(
        '-t, --task <name>',
        "adapter to use; none: the backbone alone (default: the checkpoint's first)",
        notEmpty,
      )
      .option('--dim <n>', 'shorten vectors to this Matryoshka size', wholeNumber)
      .option('--multivector', 'one vector a token instead of one an input'),
  );

/** Where and how a model runs. None of them says what comes out. */
export const addRunOptions = (command: Command): Command =>
  command
    .addOption(deviceOption())
    .addOption(
      new Option('--residence <how>', 'how weights are kept: in memory, or streamed from disk').choices(
        RESIDENCES,
      ),
    )
    .option('--batch-size <n>', 'inputs that run together; never changes a result', wholeNumber)
    .option('--max-pixels <n>', 'images are resized down to this many pixels', wholeNumber)
    .option('--max-length <n>', 'texts are cut to this many tokens', wholeNumber);

export const deviceOption = (): Option =>
  new Option('-d, --device <name>', 'where to compute; a name means that one or an error').choices(
    DEVICE_NAMES,
  );

/** `help` text with examples below it. */
export const withExamples = (command: Command, ...examples: readonly string[]): Command =>
  command.addHelpText('after', `\nExamples:\n${examples.map((e) => `  $ ${e}\n`).join('')}`.trimEnd());
