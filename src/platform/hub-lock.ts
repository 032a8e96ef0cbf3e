import { randomUUID } from 'node:crypto';
import { link, mkdir, readdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';

/** The holder shows that it lives this often. Who has not for a long time is taken for dead, wherever it runs. */
const beatMs = 20_000;
const deadMs = 10 * 60_000;
const writeMs = 5000;
const lookMs = 200;

/**
 * Runs `work` while this caller alone holds the lock file, which names its holder. A lock whose holder has died is taken
 * over. While another one holds it, `isDone` is asked now and then: once true, there is nothing left to do.
 */
export async function withLock(
  path: string,
  { signal, isDone }: { signal?: AbortSignal; isDone: () => Promise<boolean> },
  work: () => Promise<void>,
): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await removeDead(dirname(path));
  const mine = JSON.stringify({ host: hostname(), pid: process.pid, id: randomUUID() });
  while (!(await take(path, mine))) {
    if (await isDone()) return;
    await removeIfDead(path);
    await pause(lookMs, undefined, { signal }).catch(() => signal?.throwIfAborted());
  }
  const beat = setInterval(() => void utimes(path, new Date(), new Date()).catch(() => {}), beatMs);
  beat.unref();
  try {
    await work();
  } finally {
    clearInterval(beat);
    await removeThis(path, mine);
  }
}

/** Exclusive creation: of several that try, one succeeds, in all processes and on network file systems. */
const take = (path: string, mine: string): Promise<boolean> =>
  writeFile(path, mine, { flag: 'wx' }).then(
    () => true,
    (error: NodeJS.ErrnoException) => {
      if (error.code === 'EEXIST') return false;
      throw error;
    },
  );

/** What processes that were killed left in a folder of locks: their own, and those that they were about to remove. Not Python's. */
async function removeDead(folder: string): Promise<void> {
  const left = (await readdir(folder)).filter((name) => /\.node\.lock(\.[0-9a-f]{8})*$/.test(name));
  await Promise.all(left.map((name) => removeIfDead(join(folder, name))));
}

async function removeIfDead(path: string): Promise<void> {
  try {
    const [text, { mtimeMs }] = await Promise.all([readFile(path, 'utf8'), stat(path)]);
    const age = Date.now() - mtimeMs;
    if (age > deadMs || !mayLive(text, age)) await removeThis(path, text);
  } catch {
    // Gone in between: the next attempt to take it will tell.
  }
}

function mayLive(text: string, age: number): boolean {
  try {
    const { host, pid } = JSON.parse(text) as { host: string; pid: number };
    if (host !== hostname()) return true;
    process.kill(pid, 0); // sends nothing; only asks whether there is such a process
    return true;
  } catch (error) {
    // Not JSON yet: it is being written this moment, or its writer died over it.
    if (error instanceof SyntaxError) return age < writeMs;
    return (error as NodeJS.ErrnoException).code === 'EPERM'; // a process of another user
  }
}

/** Removes the lock that says `text`. Between reading and removing it, another may have been made: that one is put back. */
async function removeThis(path: string, text: string): Promise<void> {
  const aside = `${path}.${randomUUID().slice(0, 8)}`;
  try {
    await rename(path, aside);
    if ((await readFile(aside, 'utf8')) !== text) await link(aside, path);
  } catch {
    // Somebody else removed it.
  } finally {
    await rm(aside, { force: true });
  }
}
