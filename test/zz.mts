import { DeviceManager } from '../src/device.ts';
import { nodeEngines } from '../src/platform/engines-node.ts';
import * as tf from '@tensorflow/tfjs-core';
const m = new DeviceManager(nodeEngines());
console.log('a', process.getActiveResourcesInfo());
await m.start(await m.select({device:'wasm'}), {threads:2});
const P = (tf.backend() as any).wasm.PThread;
console.log('b', process.getActiveResourcesInfo(), P.unusedWorkers.length, P.runningWorkers.length);
if (process.argv[2]==='mm') { const y = tf.matMul(tf.ones([300,300]), tf.ones([300,300])); await y.data(); }
console.log('c', process.getActiveResourcesInfo(), P.unusedWorkers.length, P.runningWorkers.length);
setTimeout(()=>console.log('d', process.getActiveResourcesInfo(), P.unusedWorkers.length, P.runningWorkers.length), 500);
