// The matrix products of one decoder block in onnxruntime: onnxruntime-web (WebAssembly, SIMD, threads) as the yardstick of the
// wasm backend, onnxruntime-node (native, CPU) as the roofline of the native one.
//   node bench/reference/ort-products.mjs --ort FOLDER/node_modules/onnxruntime-web --tokens 64 --threads 2
// With --provider webgpu, onnxruntime-node's own WebGPU (Dawn, too): the yardstick of our shaders. It looks for libvulkan.so.1 by
// itself, so a loader outside the system's folders has to be in LD_LIBRARY_PATH.
// Only the seven products, without LoRA, norms, rotary embedding, attention and SwiGLU: less work than our block does.
import { createRequire } from 'node:module';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';

const { values: flags } = parseArgs({
  options: {
    ort: { type: 'string' },
    tokens: { type: 'string', default: '64' },
    threads: { type: 'string', default: '2' },
    runs: { type: 'string', default: '9' },
    provider: { type: 'string' }, // cpu (default) or webgpu, of onnxruntime-node
  },
});
if (!flags.ort) {
  console.error('usage: node bench/reference/ort-products.mjs --ort FOLDER   (npm install onnxruntime-web or onnxruntime-node somewhere, give its folder)');
  process.exit(2);
}
const require = createRequire(import.meta.url);
const ort = require(resolve(flags.ort));
const { name, version } = require(resolve(flags.ort, 'package.json'));
const native = name === 'onnxruntime-node';
if (!native) ort.env.wasm.numThreads = Number(flags.threads);
const provider = flags.provider ?? (native ? 'cpu' : 'wasm');
const options = {
  executionProviders: [provider],
  ...(provider === 'cpu' && { intraOpNumThreads: Number(flags.threads) }),
};

// The published geometry: [in, out] of q, k, v, o, gate, up, down.
const MATRICES = [
  [2048, 2048],
  [2048, 256],
  [2048, 256],
  [2048, 2048],
  [2048, 11008],
  [2048, 11008],
  [11008, 2048],
];
const T = Number(flags.tokens);

// An ONNX model is a protobuf message; one MatMul with a constant right side needs few of its fields (onnx.proto3).
const varint = (n) => (n < 128 ? [n] : [(n & 127) | 128, ...varint(Math.floor(n / 128))]);
const field = (id, bytes) => Buffer.concat([Buffer.from([...varint(id * 8 + 2), ...varint(bytes.length)]), bytes]);
const number = (id, n) => Buffer.from([...varint(id * 8), ...varint(n)]);
const text = (id, s) => field(id, Buffer.from(s));
const dims = (sizes) => field(2, Buffer.concat(sizes.map((n) => field(1, number(1, n)))));
const tensorInfo = (name, sizes) => Buffer.concat([text(1, name), field(2, field(1, Buffer.concat([number(1, 1), dims(sizes)])))]);

function matMulModel(K, N, weights) {
  const node = Buffer.concat([text(1, 'x'), text(1, 'w'), text(2, 'y'), text(4, 'MatMul')]);
  const w = Buffer.concat([number(1, K), number(1, N), number(2, 1), text(8, 'w'), field(9, Buffer.from(weights.buffer))]);
  const graph = Buffer.concat([
    field(1, node),
    text(2, 'block'),
    field(5, w),
    field(11, tensorInfo('x', [T, K])),
    field(12, tensorInfo('y', [T, N])),
  ]);
  return Buffer.concat([number(1, 8), field(7, graph), field(8, number(2, 13))]);
}

const cases = [];
for (const [K, N] of MATRICES) {
  const weights = Float32Array.from({ length: K * N }, (_, i) => ((i * 7919) % 2003) / 20030 - 0.05);
  const session = await ort.InferenceSession.create(matMulModel(K, N, weights), options);
  const x = Float32Array.from({ length: T * K }, (_, i) => Math.sin(i));
  const { y } = await session.run({ x: new ort.Tensor('float32', x, [T, K]) });
  let expected = 0; // the last value, by hand
  for (let k = 0; k < K; k++) expected += x[(T - 1) * K + k] * weights[k * N + N - 1];
  if (Math.abs(y.data[T * N - 1] - expected) > 1e-3 * Math.max(1, Math.abs(expected))) throw new Error('wrong product');
  cases.push({ session, input: new ort.Tensor('float32', x, [T, K]) });
}
const times = [];
for (let run = -2; run < Number(flags.runs); run++) {
  const began = performance.now();
  for (const { session, input } of cases) await session.run({ x: input });
  if (run >= 0) times.push(performance.now() - began);
}
times.sort((a, b) => a - b);
console.log(
  JSON.stringify({
    case: `7 matrix products of a decoder block, published, ${T} tokens`,
    ms: Math.round(times[times.length >> 1] * 10) / 10,
    best: Math.round(times[0] * 10) / 10,
    engine: `${name} ${version}, ${provider}`,
    ...(provider !== 'webgpu' && { threads: Number(flags.threads) }),
  }),
);
process.exit(0); // its worker threads would keep the process
