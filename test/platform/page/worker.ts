import { type Job, runJob } from './job.ts';

globalThis.onmessage = async ({ data }: MessageEvent<Job>) => {
  try {
    globalThis.postMessage({ answer: await runJob(data) });
  } catch (error) {
    globalThis.postMessage({ error: String(error) });
  }
};
