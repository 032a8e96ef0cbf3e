import type { Engine } from '../device-engine.ts';
import { cpuEngine } from './engine-cpu.ts';
import { wasmBrowserEngine } from './engine-wasm-browser.ts';
import { webgpuBrowserEngine } from './engine-webgpu-browser.ts';

/** The TF.js backends of a page or worker. */
export const browserEngines = ({ wasmPath }: { readonly wasmPath?: string }): readonly Engine[] => [
  webgpuBrowserEngine(),
  wasmBrowserEngine(wasmPath),
  cpuEngine(),
];
