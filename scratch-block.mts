import * as tf from '@tensorflow/tfjs-core';
import { DeviceManager } from './src/device.ts';
import { nodeEngines } from './src/platform/engines-node.ts';
import { decoderBlock, decoderBlockSpec } from './src/decoder/block.ts';
import { fillTree } from './src/params.ts';
import { decoderRotary } from './src/decoder/positions.ts';
import { matrixStore } from './kernels/index.ts';
import { geometryConfig, GEOMETRIES } from './test/support/geometries.ts';
const device = (process.argv[2] ?? 'tensorflow') as any; const packed = process.argv[3] === 'packed';
const m = new DeviceManager(nodeEngines()); await m.start(await m.select({device}));
const c = geometryConfig(GEOMETRIES.published).decoder;
const spec = decoderBlockSpec('b', c);
const rnd = (n: number, s: number) => { const a = new Uint16Array(n); let x = 12345; const f = new Float32Array(1), u = new Uint32Array(f.buffer); for (let i=0;i<n;i++){ x = (Math.imul(x,1664525)+1013904223)>>>0; f[0] = ((x>>>8)/2**24-0.5)*s; a[i]=u[0]>>>16; } return new Uint8Array(a.buffer); };
const R = 32;
const mat = (o: number, i: number, s=0.05) => { const raw = {bytes: rnd(o*i, s), dtype: 'BF16' as const, outSize:o, inSize:i}; return packed ? matrixStore().packed(raw) : matrixStore().float32(raw); };
const block = fillTree(spec, { leaf: (l: any) => l.leaf==='tensor' ? tf.ones(l.shape) : { name:l.name, weight: mat(l.outSize,l.inSize), bias: l.bias ? tf.zeros([l.outSize]) : null, lora: process.argv[4]==='nolora'?[]:[{a: mat(R,l.inSize), b: mat(l.outSize,R), scale:1, activation:'none'}] }, blocks: ()=>{throw 0} }) as any;
for (const T of (process.argv[5]??'16,64,512').split(',').map(Number)) {
  const pos = Int32Array.from({length:T},(_,i)=>i);
  const rotary = decoderRotary([[pos,pos,pos]], c);
  const x = tf.randomNormal([T, c.hiddenSize]) as tf.Tensor2D;
  const run = async () => { const y = decoderBlock(block, x, rotary, c, [0,T]); if (device!=='tensorflow') await y.data(); y.dispose(); };
  for (let i=0;i<3;i++) await run();
  const ts: number[] = []; for (let i=0;i<9;i++){ const t=performance.now(); await run(); ts.push(performance.now()-t);} ts.sort((a,b)=>a-b);
  console.log(device, packed?'packed':'f32', 'T', T, 'best', ts[0].toFixed(1), 'med', ts[4].toFixed(1), 'tok/s', (T/ts[0]*1000).toFixed(0));
}
process.exit(0);
