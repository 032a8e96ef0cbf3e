import { link, mkdir, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { nodeHeaders, npm } from './npm.mjs';
import { installedTensorflow, pipDownload } from './python.mjs';
import { LIBRARIES, LINKS, openWheel, unpackWheel } from './wheel.mjs';

/**
 * The routes to a TensorFlow library, in the order in which they are tried. Each fills `deps` of the package and gives
 * where the library came from, or throws why it could not.
 *
 * @typedef {{ packageFolder: string, scratch: string, gpu: boolean, live: (text: string) => void }} Place
 * @typedef {{ from: string, built: boolean }} Library `built`: the binding is there already
 * @typedef {{ name: string, take: (place: Place) => Promise<Library> }} Route
 */

/** A wheel that the user names is the only route; nothing else is put in its place.
 * @param {Awaited<ReturnType<typeof openWheel>> | undefined} named @returns {Route[]} */
export function routesTo(named) {
  if (named) return [{ name: `wheel ${named.file}`, take: (place) => fromWheel(named, place) }];
  return [
    { name: 'stock download', take: stock },
    { name: 'TensorFlow of an installed Python', take: fromPython },
    { name: 'TensorFlow wheel by pip', take: fromPip },
  ];
}

/** The host that the package's install script downloads from, by the variables that it reads itself. */
const stockHost = () =>
  process.env.TFJS_NODE_CDN_STORAGE ??
  process.env.CDN_STORAGE ??
  process.env.TFJS_NODE_BASE_URI ??
  'https://storage.googleapis.com/';

/** The package's own install script: TensorFlow 2.9.1 and a ready binding. @param {Place} place */
async function stock({ packageFolder, live }) {
  live('asks the download host');
  await reachable(stockHost());
  live('downloads by the package’s install script');
  const headers = nodeHeaders();
  const env = headers ? { ...process.env, npm_config_nodedir: headers } : process.env;
  await npm(['run', 'install', '--loglevel=error'], { cwd: packageFolder, env, limitMs: 10 * 60_000 });
  return { from: `stock download from ${new URL(stockHost()).host}`, built: true };
}

/** Any answer will do, but it has to come soon: a firewall that swallows packets must not hold us up.
 * @param {string} address @param {number} [limitMs] */
export async function reachable(address, limitMs = 5000) {
  if (process.env.HTTPS_PROXY ?? process.env.https_proxy) return; // Node's fetch knows no proxy, the script does
  const { host } = new URL(address);
  try {
    await fetch(address, { method: 'HEAD', signal: AbortSignal.timeout(limitMs) });
  } catch (error) {
    const { name, cause } = /** @type {Error & { cause?: { code?: string, message?: string } }} */ (error);
    const why =
      name === 'TimeoutError'
        ? `no answer within ${limitMs / 1000} s`
        : (cause?.code ?? cause?.message ?? name);
    throw new Error(`${host} is not reachable (${why})`);
  }
}

/** @param {Place} place */
async function fromPython({ packageFolder, live }) {
  onlyOnLinux();
  live('looks for TensorFlow in Python');
  const folder = await installedTensorflow();
  const deps = await libraryFolder(packageFolder);
  await symlink(join(folder, 'include'), join(deps, 'include'));
  for (const library of LIBRARIES) {
    // The same bytes under a second name; a symbolic link only where the file systems differ. Never a second copy.
    const [source, target] = [join(folder, library), join(deps, 'lib', library)];
    await link(source, target).catch(() => symlink(source, target));
  }
  return { from: `the TensorFlow in ${folder}`, built: false };
}

/** @param {Place} place */
async function fromPip(place) {
  onlyOnLinux();
  place.live('downloads a wheel by pip');
  const folder = join(place.scratch, 'wheel');
  await mkdir(folder, { recursive: true });
  // The CPU build is smaller, and the plain one is the only one for arm64 and the only one with CUDA.
  const packages = place.gpu ? ['tensorflow'] : ['tensorflow-cpu', 'tensorflow'];
  return fromWheel(await openWheel(await pipDownload(packages, folder)), place);
}

/** @param {Awaited<ReturnType<typeof openWheel>>} wheel @param {Place} place */
async function fromWheel(wheel, { packageFolder, live }) {
  onlyOnLinux();
  const deps = await libraryFolder(packageFolder);
  await unpackWheel(wheel, deps, (share) => live(`unpacks the wheel, ${Math.round(100 * share)} %`));
  return { from: `TensorFlow ${wheel.plan.version} from ${wheel.file.split(/[\\/]/).at(-1)}`, built: false };
}

/** deps/lib with the links in it. @param {string} packageFolder */
async function libraryFolder(packageFolder) {
  const deps = join(packageFolder, 'deps');
  await mkdir(join(deps, 'lib'), { recursive: true });
  for (const [name, target] of LINKS) await symlink(target, join(deps, 'lib', name));
  return deps;
}

function onlyOnLinux() {
  if (process.platform !== 'linux')
    throw new Error(`written for Linux; on ${process.platform} only the stock download works`);
}
