import type { Engine } from '../device-engine.ts';
import { cpuEngine } from './engine-cpu.ts';
import { tensorflowEngine } from './engine-tensorflow.ts';
import { wasmNodeEngine } from './engine-wasm-node.ts';
import { webgpuNodeEngine } from './engine-webgpu-node.ts';

/** The TF.js backends of Node. */
export const nodeEngines = (): readonly Engine[] => [
  tensorflowEngine(),
  webgpuNodeEngine(),
  wasmNodeEngine(),
  cpuEngine(),
];
