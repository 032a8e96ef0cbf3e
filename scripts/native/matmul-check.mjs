// A program of its own: node matmul-check.mjs PACKAGE-FOLDER PROJECT-FOLDER
// Loads the native package from its folder, checks numbers, and prints one JSON line.
import { createRequire } from 'node:module';
import { join } from 'node:path';

const [folder, root] = process.argv.slice(2);
const require = createRequire(join(folder, 'package.json'));

// Node 23 removed two functions from util that tfjs-node 4.22 calls (see src/platform/engine-tensorflow.ts).
const util = require('node:util');
util.isNullOrUndefined ??= (/** @type {unknown} */ v) => v === null || v === undefined;
util.isArray ??= Array.isArray;

const cores = ['@tensorflow/tfjs-core', '@tensorflow/tfjs'].map((name) => {
  const from = name === '@tensorflow/tfjs' ? createRequire(require.resolve(`${name}/package.json`)) : require;
  return from.resolve('@tensorflow/tfjs-core');
});
const ours = createRequire(join(root, 'package.json')).resolve('@tensorflow/tfjs-core');
const stray = cores.find((path) => path !== ours);
if (stray) throw new Error(`two copies of tfjs-core: ${stray} besides the project's ${ours}`);

const tf = require(folder);
tf.setBackend('tensorflow');
if (tf.getBackend() !== 'tensorflow') throw new Error(`the backend is ${tf.getBackend()}, not tensorflow`);

const small = tf.matMul(tf.tensor2d([1, 2, 3, 4], [2, 2]), tf.tensor2d([5, 6, 7, 8], [2, 2])).dataSync();
if (String([...small]) !== '19,22,43,50')
  throw new Error(`a 2 x 2 matmul gave ${[...small]}, not 19,22,43,50`);

const N = 1024;
const [a, b] = [tf.fill([N, N], 0.5), tf.fill([N, N], 0.25)];
let best = Number.POSITIVE_INFINITY;
for (let i = 0; i < 8; i++) {
  const started = performance.now();
  const y = tf.matMul(a, b);
  const values = y.dataSync();
  best = Math.min(best, performance.now() - started);
  if (values[0] !== N / 8 || values[N * N - 1] !== N / 8)
    throw new Error(`a ${N} matmul gave ${values[0]}, not ${N / 8}`);
  y.dispose();
}
const backend = tf.backend();
console.log(
  JSON.stringify({
    tensorflow: backend.binding.TF_Version,
    cuda: backend.isUsingGpuDevice === true,
    gflops: Math.round((2 * N ** 3) / best / 1e6),
  }),
);
