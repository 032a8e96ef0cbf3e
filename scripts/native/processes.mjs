import { spawn } from 'node:child_process';
import { rmSync } from 'node:fs';

/**
 * What must not outlive this run: programs started and folders half written. Ctrl-C stops the ones, removes the others
 * and ends with 130.
 */
const children = /** @type {Set<import('node:child_process').ChildProcess>} */ (new Set());
const folders = /** @type {Set<string>} */ (new Set());
const WINDOWS = process.platform === 'win32';

/** Removed at the end of the run, however it ends. @param {string} folder */
export function removeAtEnd(folder) {
  folders.add(folder);
  return folder;
}

/** Stops what still runs and removes the temporary folders. */
export function cleanUp() {
  for (const child of children) stop(child);
  for (const folder of folders) rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
  folders.clear();
}

/** The exit code of a signal is 128 plus its number: 130 for Ctrl-C. */
export function cleanUpOnSignals() {
  for (const [signal, code] of /** @type {const} */ ([
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ]))
    process.once(signal, () => {
      cleanUp();
      process.stderr.write(`\ninterrupted (${signal}); nothing was changed\n`);
      process.exit(code);
    });
}

/**
 * Runs a program to its end. Resolves with what it printed; rejects with its last lines and, as `output`, all of it.
 *
 * @typedef {{ cwd?: string, env?: NodeJS.ProcessEnv, limitMs?: number }} RunOptions
 * @param {string} command @param {readonly string[]} args @param {RunOptions} [options]
 * @returns {Promise<string>} stdout
 */
export function run(command, args, { cwd, env, limitMs = 20 * 60_000 } = {}) {
  return new Promise((resolve, reject) => {
    // Its own process group, so that stopping it stops the compilers it started as well.
    const child = spawn(command, args, { cwd, env, detached: !WINDOWS, stdio: ['ignore', 'pipe', 'pipe'] });
    children.add(child);
    let stdout = '';
    let output = '';
    child.stdout.on('data', (data) => {
      stdout += data;
      output += data;
    });
    child.stderr.on('data', (data) => {
      output += data;
    });
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      stop(child);
    }, limitMs);
    /** @param {string} why */
    const fail = (why) => reject(Object.assign(new Error(why), { output }));
    child.on('error', (error) => {
      clearTimeout(timer);
      children.delete(child);
      fail(
        /** @type {NodeJS.ErrnoException} */ (error).code === 'ENOENT'
          ? `${command} is not installed`
          : error.message,
      );
    });
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      children.delete(child);
      if (code === 0) resolve(stdout);
      else if (late) fail(`stopped after ${limitMs / 1000} s`);
      else fail(lastWords(output) || `ended with ${signal ?? code}`);
    });
  });
}

/** @param {import('node:child_process').ChildProcess} child */
function stop(child) {
  try {
    if (WINDOWS || child.pid === undefined) child.kill('SIGKILL');
    else process.kill(-child.pid, 'SIGKILL');
  } catch {
    // it has ended by itself
  }
}

/** The line of a failed program's output that says most: the last that speaks of an error, else the last.
 * @param {string} output */
export function lastWords(output) {
  const lines = output
    .split('\n')
    .map((line) => line.trim())
    .filter(Boolean);
  const telling = lines.filter((line) => /error|cannot|not found|refused|denied|no space/i.test(line));
  return (telling.at(-1) ?? lines.at(-1) ?? '').slice(0, 300);
}
