/** What the process tells its caller. */
export const EXIT = { ok: 0, failure: 1, usage: 2, interrupted: 130 } as const;

/** The command line itself is wrong: nothing was opened yet. Exit code 2. */
export class UsageError extends Error {
  override readonly name: string = 'UsageError';
}

/** Somebody pressed Ctrl-C, or asked the process to end. Exit code 128 + the signal's number, as shells do. */
export class Interrupted extends Error {
  override readonly name: string = 'Interrupted';
  readonly code: number;

  constructor(code: number = EXIT.interrupted) {
    super('interrupted');
    this.code = code;
  }
}

const SIGNALS = { SIGINT: EXIT.interrupted, SIGTERM: 143, SIGHUP: 129 } as const;

/** A signal that aborts at the first Ctrl-C (work stops at the next batch, temporary files go); the second ends at once. */
export function abortOnInterrupt(): AbortSignal {
  const controller = new AbortController();
  for (const [name, code] of Object.entries(SIGNALS)) {
    process.on(name, () => {
      if (controller.signal.aborted) process.exit(code);
      controller.abort(new Interrupted(code));
    });
  }
  return controller.signal;
}

/** Whoever read our output has gone, as `| head` does. That is no failure. */
export const isBrokenPipe = (error: unknown): boolean =>
  (error as NodeJS.ErrnoException | null)?.code === 'EPIPE';
