import { wasmNodeEngine } from '/work/main/src/platform/engine-wasm-node.ts';
import * as tf from '@tensorflow/tfjs-core';
const T = Number(process.argv[2]);
const t0 = performance.now();
const r = await wasmNodeEngine().start({threads: T});
await tf.setBackend('wasm'); await tf.ready();
console.log(r, (performance.now()-t0).toFixed(), 'ms', (process.memoryUsage().rss/1e6).toFixed(), 'MB', process.listeners('uncaughtException').length, process.listeners('unhandledRejection').length);
const a = tf.randomUniform([1024,1024], -1, 1, 'float32', 7) as tf.Tensor2D;
let out; for (let i=0;i<5;i++){ const t=performance.now(); const c = tf.matMul(a,a); out = await c.data(); console.log((performance.now()-t).toFixed(1)); }
import {createHash} from 'node:crypto'; console.log(createHash('sha1').update(new Uint8Array(out!.buffer)).digest('hex'));
console.log('done', (performance.now()-t0).toFixed());
