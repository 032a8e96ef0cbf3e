import { createColors } from 'picocolors';

/** What is shown while something takes long. */
export type Progress = { update(done: number, total: number): void; stop(): void };

/** Results go to stdout, everything said about them to stderr. Colours and bars only where a person looks. */
export type Terminal = {
  /** Resolves when the text is written: whoever awaits it never piles up output in memory. */
  print(text: string): Promise<void>;
  /** By the way; shown to people (stderr is a terminal), never with `--quiet`. */
  note(text: string): void;
  /** Something the user should know of; not with `--quiet`. */
  warn(text: string): void;
  /** A total of 0 means that nobody knows. `onStdout: true` for a bar that would be torn by results on the same screen. */
  progress(
    label: string,
    format: (done: number, total: number) => string,
    also?: { onStdout: boolean },
  ): Promise<Progress>;
  /** Styles of stdout. */
  readonly style: ReturnType<typeof createColors>;
  /** Columns of stdout's screen; null when it is not one. */
  readonly columns: number | null;
};

export function openTerminal({ quiet = false }: { quiet?: boolean } = {}): Terminal {
  const shown = process.stderr.isTTY && !quiet;
  const err = styleOf(process.stderr);
  return {
    print: (text) =>
      new Promise((resolve, reject) => {
        process.stdout.write(text, (error) => (error ? reject(error) : resolve()));
      }),
    note: (text) => {
      if (shown) process.stderr.write(`${err.dim(text)}\n`);
    },
    warn: (text) => {
      if (!quiet) process.stderr.write(`${err.yellow('warning:')} ${text}\n`);
    },
    progress: async (label, format, { onStdout } = { onStdout: false }) =>
      shown && !(onStdout && process.stdout.isTTY)
        ? bar(label, format)
        : { update: () => {}, stop: () => {} },
    style: styleOf(process.stdout),
    columns: process.stdout.isTTY ? process.stdout.columns : null,
  };
}

/** The one line an error gets. */
export const printError = (message: string): void => {
  process.stderr.write(`${styleOf(process.stderr).red('error:')} ${message}\n`);
};

// picocolors' own guess also says yes for a pipe in CI.
const styleOf = (stream: NodeJS.WriteStream) =>
  createColors(stream.isTTY === true && !process.env.NO_COLOR && process.env.TERM !== 'dumb');

async function bar(label: string, format: (done: number, total: number) => string): Promise<Progress> {
  const { SingleBar } = await import('cli-progress');
  const line = new SingleBar({
    format: `${label} {bar} {shown}`,
    stream: process.stderr,
    clearOnComplete: true,
    barsize: 30,
    barCompleteChar: '█',
    barIncompleteChar: '░',
    gracefulExit: false, // Ctrl-C is ours: it also removes temporary files
  });
  let started = false;
  return {
    update(done, total) {
      const shown = format(done, total);
      if (!started) line.start(total, done, { shown });
      else {
        line.setTotal(total);
        line.update(done, { shown });
      }
      started = true;
    },
    stop() {
      if (started) line.stop();
      started = false;
    },
  };
}
