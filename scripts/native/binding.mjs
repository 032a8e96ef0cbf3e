import { cp, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { nodeGyp, nodeHeaders } from './npm.mjs';
import { run } from './processes.mjs';

/** The newest N-API version that tfjs-node 4.22 knows; every Node since 12.22 has it, so one binding serves them all. */
export const NAPI = 8;

/** Compiles the package's binding against the library in its deps folder. @param {string} packageFolder */
export async function compileBinding(packageFolder) {
  const [command, first] = nodeGyp();
  const target = `./lib/napi-v${NAPI}`;
  const settings = [`--napi_build_version=${NAPI}`, '--module_name=tfjs_binding', `--module_path=${target}`];
  const headers = nodeHeaders();
  try {
    await run(command, [...first, 'rebuild', ...settings, ...(headers ? [`--nodedir=${headers}`] : [])], {
      cwd: packageFolder,
      limitMs: 10 * 60_000,
    });
  } catch (error) {
    const { message } = /** @type {Error} */ (error);
    throw new Error(
      `node-gyp: ${message} (it needs python3, make and a C++ compiler: apt-get install python3 make g++)`,
    );
  }
  const folder = join(packageFolder, target);
  await mkdir(folder, { recursive: true });
  await cp(join(packageFolder, 'build/Release/tfjs_binding.node'), join(folder, 'tfjs_binding.node'));
}
