import type { Engine, EngineReport } from '../device-engine.ts';

const REPORT: EngineReport = {
  available: true,
  detail: 'plain JavaScript, always there, slow: the truth that tests compare with',
  hardware: 'cpu',
  threads: 1,
};

/** TF.js in plain JavaScript, on every platform. */
export const cpuEngine = (): Engine => ({
  name: 'cpu',
  probe: async () => REPORT,
  start: async () => {
    await import('@tensorflow/tfjs-backend-cpu');
    return REPORT;
  },
});
