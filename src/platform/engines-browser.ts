import type { Engine } from '../device-engine.ts';
import { cpuEngine } from './engine-cpu.ts';

/** The TF.js backends of a page. */
export const browserEngines = (_options: { readonly wasmPath?: string }): readonly Engine[] => [cpuEngine()];
