#!/usr/bin/env node
// npm run native [-- --wheel FILE] [--gpu] [--force]
//
// Gives @tensorflow/tfjs-node a working TensorFlow library in this project's node_modules, and changes nothing else:
// package.json and the lock file stay as they are. Plain JavaScript, because it runs before anything is built.
import { existsSync } from 'node:fs';
import { mkdir, readdir, rm } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { compileBinding } from './native/binding.mjs';
import { routesTo } from './native/library.mjs';
import { fetchPackages, keepRuntimeOnly, readJson } from './native/packages.mjs';
import { assemble, cacheKey, check, findKept, keep, keptFrom, putInPlace } from './native/place.mjs';
import { cleanUp, cleanUpOnSignals, removeAtEnd } from './native/processes.mjs';
import { Progress, seconds } from './native/progress.mjs';
import { openWheel } from './native/wheel.mjs';

const USAGE = `npm run native [-- OPTIONS]   gives this project the native TensorFlow engine (tfjs-node)
  --wheel FILE   take the TensorFlow library from this wheel, and from nowhere else
  --gpu          the CUDA package (tfjs-node-gpu); untested where there is no NVIDIA GPU
  --force        install again, although it works
  --root DIR     the project to install into (this one)`;

/**
 * @typedef {import('./native/place.mjs').Package} Package
 * @typedef {import('./native/place.mjs').Checked} Checked
 * @typedef {{ root: string, pkg: Package, gpu: boolean, wheel?: Awaited<ReturnType<typeof openWheel>>,
 *   scratch: string, cache: string }} Job
 */

const started = performance.now();

/** @param {string[]} argv */
async function main(argv) {
  const options = readOptions(argv);
  const root = resolve(options.root ?? projectRoot(fileURLToPath(import.meta.url)));
  const pkg = wantedPackage(root, options.gpu);
  const target = join(root, 'node_modules', pkg.name);
  if (!options.force && existsSync(target)) {
    try {
      return report(
        'an earlier run; it works, and nothing was changed',
        pkg,
        target,
        await check(target, root),
      );
    } catch (error) {
      console.log(`${pkg.name} is there but does not work (${messageOf(error)}): it is installed anew`);
    }
  }
  const wheel = options.wheel ? await openWheel(resolve(options.wheel)) : undefined;
  await removeStale(join(root, 'node_modules'));
  const scratch = removeAtEnd(join(root, 'node_modules', `.native-${process.pid}`));
  await mkdir(scratch);
  const job = { root, pkg, gpu: options.gpu, wheel, scratch, cache: join(root, '.cache/native') };
  const ready = join(scratch, 'ready');
  const found = (!options.force && (await fromCache(job, ready))) || (await build(job, ready));
  putInPlace(ready, target, scratch);
  report(found.from, pkg, target, found.checked);
}

/** A build that was kept from an earlier time: linked and checked, or dropped when it does not work.
 * @param {Job} job @param {string} ready */
async function fromCache({ root, pkg, wheel, cache }, ready) {
  const kept = await findKept(cache, pkg, wheel?.plan.version);
  if (!kept) return undefined;
  const progress = new Progress(2);
  try {
    await progress.step('link the build kept in .cache/native', () => assemble(kept, pkg, root, ready));
    const checked = await progress.step('check it with a matmul', () => check(ready, root));
    return { from: `${keptFrom(kept)}, kept in .cache/native`, checked };
  } catch (error) {
    console.log(`the kept build does not work here (${messageOf(error)}): it is built anew`);
    await rm(ready, { recursive: true, force: true });
    await rm(kept, { recursive: true, force: true });
    return undefined;
  }
}

/** Packages, library, binding, check; kept for the next time.
 * @param {Job} job @param {string} ready */
async function build({ root, pkg, gpu, wheel, scratch, cache }, ready) {
  const work = join(scratch, 'build');
  const packageFolder = join(work, 'node_modules', pkg.name);
  const progress = new Progress(5);
  await progress.step(`fetch ${pkg.name} ${pkg.version} and what it needs`, () =>
    fetchPackages(work, root, pkg.name, pkg.version),
  );
  const failures = /** @type {string[]} */ ([]);
  const library = await progress.step('get the TensorFlow library', async (step) => {
    for (const route of routesTo(wheel)) {
      try {
        const taken = await route.take({ packageFolder, scratch, gpu, live: step.live });
        step.note(taken.from);
        return taken;
      } catch (error) {
        failures.push(`${route.name}: ${messageOf(error)}`);
        await rm(join(packageFolder, 'deps'), { recursive: true, force: true });
      }
    }
    throw new Error(`no way to a TensorFlow library:\n  ${failures.join('\n  ')}\n${WAY_OUT}`);
  });
  await progress.step('compile the binding', async (step) =>
    library.built ? step.note('came with the library') : compileBinding(packageFolder),
  );
  const checked = await progress.step('link it and check it with a matmul', async () => {
    await keepRuntimeOnly(work, pkg.name);
    await assemble(work, pkg, root, ready);
    return check(ready, root);
  });
  await progress.step('keep the build in .cache/native', async (step) => {
    const facts = { ...pkg, ...checked, from: library.from };
    if (!(await keep(work, cache, cacheKey(pkg, checked.tensorflow), facts))) step.note('not possible here');
  });
  for (const failure of failures) console.log(`not taken: ${failure}`);
  return { from: library.from, checked };
}

const WAY_OUT =
  'Give a wheel with --wheel FILE (pip download --no-deps tensorflow-cpu on a machine that can), ' +
  'or go on without: the wasm engine needs no download.';

/** @param {string} from @param {Package} pkg @param {string} target @param {Checked} checked */
function report(from, pkg, target, { tensorflow, cuda, gflops }) {
  const lines = [
    `native engine: ${pkg.name} ${pkg.version} with TensorFlow ${tensorflow} on ${cuda ? 'a CUDA GPU' : 'the CPU'}`,
    `  from   ${from}`,
    `  in     ${target}`,
    `  speed  ${gflops} GFLOP/s (1024 x 1024 x 1024 float32 matmul)`,
    `  took   ${seconds(started)}`,
    'A later npm ci removes it, as npm did not put it there: "npm run native" then takes seconds.',
  ];
  if (pkg.name.endsWith('-gpu') && !cuda)
    lines.push(
      'No CUDA device answered: this package is untested without an NVIDIA GPU and its CUDA libraries.',
    );
  console.log(lines.join('\n'));
}

/** The project's TF.js decides the version: tfjs-node must be of the same release.
 * @param {string} root @param {boolean} gpu @returns {Package} */
function wantedPackage(root, gpu) {
  const core = join(root, 'node_modules/@tensorflow/tfjs-core/package.json');
  if (!existsSync(core))
    throw new Error(`${root} has no @tensorflow/tfjs-core in node_modules: run "npm ci" first`);
  return {
    name: gpu ? '@tensorflow/tfjs-node-gpu' : '@tensorflow/tfjs-node',
    version: readJson(core).version,
  };
}

/** This checkout, or, when this script was itself installed as a package, the project that holds it.
 * @param {string} script */
function projectRoot(script) {
  const inside = script.split('\\').join('/').indexOf('/node_modules/');
  return inside >= 0 ? script.slice(0, inside) : dirname(dirname(script));
}

/** Folders of runs that were killed and could not clean up. @param {string} modules */
async function removeStale(modules) {
  for (const name of await readdir(modules)) {
    const pid = Number(/^\.native-(\d+)$/.exec(name)?.[1]);
    if (pid && !alive(pid)) await rm(join(modules, name), { recursive: true, force: true });
  }
}

/** @param {number} pid */
function alive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return /** @type {NodeJS.ErrnoException} */ (error).code === 'EPERM';
  }
}

/** @param {string[]} argv */
function readOptions(argv) {
  try {
    const { values } = parseArgs({
      args: argv,
      options: {
        wheel: { type: 'string' },
        gpu: { type: 'boolean', default: false },
        force: { type: 'boolean', default: false },
        root: { type: 'string' },
        help: { type: 'boolean', default: false },
      },
    });
    if (values.help) {
      console.log(USAGE);
      process.exit(0);
    }
    return { ...values, gpu: values.gpu === true, force: values.force === true };
  } catch (error) {
    console.error(`${messageOf(error)}\n${USAGE}`);
    process.exit(2);
  }
}

/** @param {unknown} error */
const messageOf = (error) => (error instanceof Error ? error.message : String(error));

cleanUpOnSignals();
try {
  await main(process.argv.slice(2));
} catch (error) {
  console.error(`native engine not installed: ${messageOf(error)}`);
  process.exitCode = 1;
} finally {
  cleanUp();
}
